//! The buffers of an optimizer: the caller's, the arena's and the states'.

use crate::layout::geometry::ELEMENT_BYTES;
use crate::layout::kernels::Kernels;
use crate::layout::placement::{BufferId, Layout, Span};
use crate::model::Model;

/// Every buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers {
    pub caller: CallerBuffers,
    params: Vec<wgpu::Buffer>,
    grads: Vec<wgpu::Buffer>,
    /// By kernel, state and shard.
    states: Vec<Vec<Vec<wgpu::Buffer>>>,
}

/// The caller's buffers, each once, by the index that [`BufferId::Caller`] has. An index stays
/// while some parameter uses it.
#[derive(Debug, Clone, Default)]
pub(super) struct CallerBuffers {
    /// Each with how many arrays are in it.
    known: Vec<Option<(wgpu::Buffer, usize)>>,
    /// Indices in the order of their buffers, to find one by halves.
    sorted: Vec<usize>,
    free: Vec<usize>,
    /// The index found last: arrays that follow one another are often in one buffer.
    last: usize,
}

impl CallerBuffers {
    /// A buffer's index, for one array more.
    pub fn take(&mut self, buffer: &wgpu::Buffer) -> usize {
        let index = if self.is(self.last, buffer) { self.last } else { self.find(buffer) };
        self.last = index;
        if let Some((_, users)) = &mut self.known[index] {
            *users += 1;
        }
        index
    }

    /// One array fewer is in the buffer of this index.
    pub fn release(&mut self, index: usize) {
        let Some((buffer, users)) = &mut self.known[index] else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let buffer = buffer.clone();
        if let Ok(at) = self.search(&buffer) {
            self.sorted.remove(at);
        }
        self.known[index] = None;
        self.free.push(index);
    }

    /// The size of a buffer in bytes.
    pub fn size(&self, index: usize) -> u64 {
        self.known[index].as_ref().map_or(0, |(buffer, _)| buffer.size())
    }

    fn is(&self, index: usize, buffer: &wgpu::Buffer) -> bool {
        matches!(self.known.get(index), Some(Some((known, _))) if known == buffer)
    }

    fn search(&self, buffer: &wgpu::Buffer) -> Result<usize, usize> {
        self.sorted.binary_search_by(|&index| match &self.known[index] {
            Some((known, _)) => known.cmp(buffer),
            None => std::cmp::Ordering::Less,
        })
    }

    /// A buffer's index; a buffer that is new gets one.
    fn find(&mut self, buffer: &wgpu::Buffer) -> usize {
        let at = match self.search(buffer) {
            Ok(at) => return self.sorted[at],
            Err(at) => at,
        };
        let entry = Some((buffer.clone(), 0));
        let index = match self.free.pop() {
            Some(index) => {
                self.known[index] = entry;
                index
            }
            None => {
                self.known.push(entry);
                self.known.len() - 1
            }
        };
        self.sorted.insert(at, index);
        index
    }
}

/// A span of an array's elements, with the buffer that holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub span: Span,
}

impl<'a> Part<'a> {
    /// The offset and the end in bytes.
    pub fn bytes(&self) -> [u64; 2] {
        let Span { start, len, .. } = self.span;
        [start * ELEMENT_BYTES, (start + len) * ELEMENT_BYTES]
    }

    /// The buffer, the offset and the size in bytes.
    pub fn source(&self) -> (&'a wgpu::Buffer, u64, u64) {
        let [start, end] = self.bytes();
        (self.buffer, start, end - start)
    }

    pub fn slice(&self) -> wgpu::BufferSlice<'a> {
        let [start, end] = self.bytes();
        self.buffer.slice(start..end)
    }
}

/// Which of the arrays that share a layout: a kernel's n-th state. Parameters and gradients need no
/// such telling apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StateOf {
    pub kernel: usize,
    pub state: usize,
}

const ARRAY_USAGES: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

impl Buffers {
    /// Creates what the layout has and these buffers have not yet: more of the arena and of the
    /// states. To be called within an error scope.
    pub fn extend(
        &mut self,
        device: &wgpu::Device,
        layout: &Layout,
        model: &Model,
        kernels: &Kernels,
    ) {
        for (buffers, label) in
            [(&mut self.params, "wgpu-optim parameters"), (&mut self.grads, "wgpu-optim gradients")]
        {
            let new = &layout.arena[buffers.len()..];
            buffers.extend(new.iter().map(|&len| create(device, label, len, false)));
        }
        self.states.resize(kernels.len(), Vec::new());
        for (kernel, states) in self.states.iter_mut().enumerate() {
            let rule = kernels.rule(model, kernel);
            states.resize(rule.states().len(), Vec::new());
            for (index, shards) in states.iter_mut().enumerate() {
                let first = shards.len();
                let state = State { device, layout, model, kernels, kernel, index, first };
                shards.extend(state.create());
            }
        }
    }

    /// What the optimizer's own arrays take, by what they hold.
    pub fn needs(&self, model: &Model, kernels: &Kernels) -> String {
        let mut needs = Vec::<(&str, u64)>::new();
        let mut add = |name, buffers: &[wgpu::Buffer]| {
            let bytes = buffers.iter().map(wgpu::Buffer::size).sum();
            match needs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += bytes,
                None => needs.push((name, bytes)),
            }
        };
        add("parameters", &self.params);
        add("gradients", &self.grads);
        for (kernel, states) in self.states.iter().enumerate() {
            let names = kernels.rule(model, kernel).states();
            names.iter().zip(states).for_each(|(state, shards)| add(state.name, shards));
        }
        needs.retain(|(_, bytes)| *bytes > 0);
        let total: u64 = needs.iter().map(|(_, bytes)| bytes).sum();
        let parts: Vec<_> =
            needs.iter().map(|(name, bytes)| format!("{bytes} for `{name}`")).collect();
        format!("the optimizer's arrays take {total} bytes, {}", parts.join(", "))
    }

    /// The buffer of this identity; `None` if there is none.
    pub fn get(&self, id: BufferId, of: StateOf) -> Option<&wgpu::Buffer> {
        match id {
            BufferId::Caller(n) => self.caller.known.get(n)?.as_ref().map(|(buffer, _)| buffer),
            BufferId::Params(n) => self.params.get(n),
            BufferId::Grads(n) => self.grads.get(n),
            BufferId::States(n) => self.states.get(of.kernel)?.get(of.state)?.get(n),
        }
    }

    /// An array's spans with their buffers.
    pub fn parts(&self, spans: &[Span], of: StateOf) -> Vec<Part<'_>> {
        let part = |&span: &Span| Some(Part { buffer: self.get(span.buffer, of)?, span });
        spans.iter().filter(|span| span.len > 0).filter_map(part).collect()
    }
}

/// One state of one kernel, about to have more buffers.
struct State<'a> {
    device: &'a wgpu::Device,
    layout: &'a Layout,
    model: &'a Model,
    kernels: &'a Kernels,
    kernel: usize,
    index: usize,
    /// The index of its first new buffer.
    first: usize,
}

impl State<'_> {
    /// The state's new buffers, all elements at the value they have before the first step.
    fn create(&self) -> Vec<wgpu::Buffer> {
        let members = |&group: &usize| self.kernels.of(group) == self.kernel;
        let value = |group: usize| self.model.groups[group].rule.states()[self.index].value as f32;
        let filled = (0..self.model.groups.len()).filter(members).any(|group| value(group) != 0.0);
        let name = self.kernels.rule(self.model, self.kernel).states()[self.index].name;
        let label = format!("wgpu-optim {name}");
        let buffers: Vec<_> = self.layout.states[self.kernel][self.first..]
            .iter()
            .map(|&len| create(self.device, &label, len, filled))
            .collect();
        if filled {
            for (placement, param) in self.layout.params.iter().zip(&self.model.params) {
                if members(&param.group) {
                    self.fill(&buffers, &placement.states, value(param.group));
                }
            }
            buffers.iter().for_each(wgpu::Buffer::unmap);
        }
        buffers
    }

    /// Fills the spans that are in new buffers, which are mapped since their creation.
    fn fill(&self, buffers: &[wgpu::Buffer], spans: &[Span], value: f32) {
        let chunk = vec![value; FILL_CHUNK];
        let chunk: &[u8] = bytemuck::cast_slice(&chunk);
        for span in spans {
            let BufferId::States(shard) = span.buffer else { continue };
            let Some(new) = shard.checked_sub(self.first) else { continue };
            let part = Part { buffer: &buffers[new], span: *span };
            // Fails only if the buffer could not be created, which the error scope reports.
            let Ok(mut view) = part.slice().get_mapped_range_mut() else { continue };
            for start in (0..view.len()).step_by(chunk.len()) {
                let end = (start + chunk.len()).min(view.len());
                view.slice(start..end).copy_from_slice(&chunk[..end - start]);
            }
        }
    }
}

/// Elements written to a mapped buffer at a time.
const FILL_CHUNK: usize = 1 << 14;

/// A buffer of so many elements.
fn create(device: &wgpu::Device, label: &str, len: u64, mapped: bool) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: len * ELEMENT_BYTES,
        usage: ARRAY_USAGES,
        mapped_at_creation: mapped,
    })
}
