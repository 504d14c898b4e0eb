//! The buffers of an optimizer: the caller's, the arena's and the states'.

use crate::format::ELEMENT_BYTES;
use crate::groups::Groups;
use crate::kernels::Kernels;
use crate::layout::{BufferId, Layout, Run};

/// Every buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers {
    pub caller: Vec<wgpu::Buffer>,
    params: Vec<wgpu::Buffer>,
    grads: Vec<wgpu::Buffer>,
    /// By kernel, state and shard.
    states: Vec<Vec<Vec<wgpu::Buffer>>>,
}

/// A run of an array's elements, with the buffer that holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub run: Run,
}

impl<'a> Part<'a> {
    /// The buffer, the offset and the size in bytes.
    pub fn source(&self) -> (&'a wgpu::Buffer, u64, u64) {
        (self.buffer, self.run.offset, self.run.len * ELEMENT_BYTES)
    }

    pub fn slice(&self) -> wgpu::BufferSlice<'a> {
        let Run { offset, len, .. } = self.run;
        self.buffer.slice(offset..offset + len * ELEMENT_BYTES)
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
    /// Creates what the layout has and these buffers have not yet: more of the arena and of the states. To be
    /// called within an error scope.
    pub fn extend(
        &mut self,
        device: &wgpu::Device,
        layout: &Layout,
        groups: &Groups,
        kernels: &Kernels,
    ) {
        for (buffers, label) in
            [(&mut self.params, "wgpu-optim parameters"), (&mut self.grads, "wgpu-optim gradients")]
        {
            let new = &layout.arena[buffers.len()..];
            buffers.extend(new.iter().map(|&size| create(device, label, size, false)));
        }
        self.states.resize(kernels.len(), Vec::new());
        for (kernel, states) in self.states.iter_mut().enumerate() {
            let rule = kernels.rule(groups, kernel);
            states.resize(rule.states().len(), Vec::new());
            for (index, shards) in states.iter_mut().enumerate() {
                let first = shards.len();
                let state = State { device, layout, groups, kernels, kernel, index, first };
                shards.extend(state.create());
            }
        }
    }

    pub fn get(&self, id: BufferId, of: StateOf) -> &wgpu::Buffer {
        match id {
            BufferId::Caller(n) => &self.caller[n],
            BufferId::Params(n) => &self.params[n],
            BufferId::Grads(n) => &self.grads[n],
            BufferId::States(n) => &self.states[of.kernel][of.state][n],
        }
    }

    /// How many states a kernel has.
    pub fn states(&self, kernel: usize) -> usize {
        self.states[kernel].len()
    }

    /// An array's runs with their buffers.
    pub fn parts(&self, runs: &[Run], of: StateOf) -> Vec<Part<'_>> {
        let part = |&run: &Run| Part { buffer: self.get(run.buffer, of), run };
        runs.iter().filter(|run| run.len > 0).map(part).collect()
    }
}

/// One state of one kernel, about to have more buffers.
struct State<'a> {
    device: &'a wgpu::Device,
    layout: &'a Layout,
    groups: &'a Groups,
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
        let value = |group: usize| self.groups.groups[group].rule.states()[self.index].value as f32;
        let filled = (0..self.groups.groups.len()).filter(members).any(|group| value(group) != 0.0);
        let name = self.kernels.rule(self.groups, self.kernel).states()[self.index].name;
        let label = format!("wgpu-optim {name}");
        let buffers: Vec<_> = self.layout.states[self.kernel][self.first..]
            .iter()
            .map(|&size| create(self.device, &label, size, filled))
            .collect();
        if filled {
            for (segment, param) in self.layout.segments.iter().zip(&self.groups.params) {
                if members(&param.group) {
                    self.fill(&buffers, &segment.states, value(param.group));
                }
            }
            buffers.iter().for_each(wgpu::Buffer::unmap);
        }
        buffers
    }

    /// Fills the runs that lie in new buffers, which are mapped since their creation.
    fn fill(&self, buffers: &[wgpu::Buffer], runs: &[Run], value: f32) {
        let chunk = vec![value; FILL_CHUNK];
        let chunk: &[u8] = bytemuck::cast_slice(&chunk);
        for run in runs {
            let BufferId::States(shard) = run.buffer else { continue };
            let Some(new) = shard.checked_sub(self.first) else { continue };
            let part = Part { buffer: &buffers[new], run: *run };
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

fn create(device: &wgpu::Device, label: &str, size: u64, mapped: bool) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: ARRAY_USAGES,
        mapped_at_creation: mapped,
    })
}
