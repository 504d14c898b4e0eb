//! The buffers of an optimizer: the caller's, the arena's and the states'.

use crate::gpu::mix::Mixed;
use crate::layout::formats::WORD_BYTES;
use crate::layout::kernels::{Class, Kernels};
use crate::layout::placement::{BufferId, Layout, Span};
use crate::layout::plan::Window;
use crate::model::{Codec, Group, Model};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// Every buffer.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub caller: CallerBuffers,
    params: Vec<wgpu::Buffer>,
    grads: Vec<wgpu::Buffer>,
    /// By class, state and shard.
    states: Vec<Vec<Vec<wgpu::Buffer>>>,
}

/// How many buffers of the optimizer's own there were, to go back to.
#[derive(Debug)]
pub(super) struct Mark {
    arrays: [usize; 2],
    /// By class and state.
    states: Vec<Vec<usize>>,
}

impl Mark {
    /// Whether the state had the buffer of this index.
    fn has(&self, of: StateOf, shard: usize) -> bool {
        let shards = self.states.get(of.class).and_then(|states| states.get(of.state));
        shards.is_some_and(|&shards| shard < shards)
    }
}

/// The caller's buffers, each once, by the index that [`BufferId::Caller`] has. An index stays
/// while some parameter uses it.
#[derive(Debug, Default)]
pub(super) struct CallerBuffers {
    /// Each with how many arrays are in it.
    known: Vec<Option<(wgpu::Buffer, usize)>>,
    /// Their indices.
    indices: HashMap<wgpu::Buffer, usize, Mixed>,
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
        if *users == 0 {
            self.indices.remove(buffer);
            self.known[index] = None;
            self.free.push(index);
        }
    }

    /// The size of a buffer in bytes.
    pub fn size(&self, index: usize) -> u64 {
        self.known[index].as_ref().map_or(0, |(buffer, _)| buffer.size())
    }

    fn is(&self, index: usize, buffer: &wgpu::Buffer) -> bool {
        matches!(self.known.get(index), Some(Some((known, _))) if known == buffer)
    }

    /// A buffer's index; a buffer that is new gets one.
    fn find(&mut self, buffer: &wgpu::Buffer) -> usize {
        if let Some(&index) = self.indices.get(buffer) {
            return index;
        }
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
        self.indices.insert(buffer.clone(), index);
        index
    }
}

/// A span of an array's elements, with the buffer that holds it and how they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub span: Span,
    pub codec: Codec,
}

impl<'a> Part<'a> {
    /// The offset and the end in bytes.
    pub fn bytes(&self) -> [u64; 2] {
        let Span { start, len, .. } = self.span;
        [self.codec.bytes(start), self.codec.bytes(start + len)]
    }

    /// The buffer, the offset and the size in bytes of the words that hold the elements.
    pub fn source(&self) -> (&'a wgpu::Buffer, u64, u64) {
        let [start, end] = self.bytes();
        let start = start - start % WORD_BYTES;
        (self.buffer, start, end.next_multiple_of(WORD_BYTES) - start)
    }

    /// What it has of these elements of the array.
    pub fn cut(self, elements: &Range<u64>) -> Option<Self> {
        let Span { start, first, len, .. } = self.span;
        let from = first.max(elements.start);
        let to = (first + len).min(elements.end);
        (from < to).then(|| {
            let start = start + from - first;
            Self { span: Span { start, first: from, len: to - from, ..self.span }, ..self }
        })
    }

    /// How its elements are found in what is read of it.
    pub fn stored(&self) -> Stored {
        Stored { codec: self.codec, span: self.span }
    }

    /// The elements as they are stored, padded to words if the words are the optimizer's own.
    pub fn encode<'v>(&self, values: &'v [f32]) -> Cow<'v, [u8]> {
        let Span { first, len, .. } = self.span;
        let values = &values[first as usize..(first + len) as usize];
        if self.codec == Codec::F32 {
            return Cow::Borrowed(bytemuck::cast_slice(values));
        }
        let mut bytes = Vec::new();
        self.codec.encode(values, &mut bytes);
        if self.span.buffer.is_owned() {
            bytes.resize(bytes.len().next_multiple_of(WORD_BYTES as usize), 0);
        }
        Cow::Owned(bytes)
    }

    pub fn slice(&self) -> wgpu::BufferSlice<'a> {
        let [start, end] = self.bytes();
        self.buffer.slice(start..end)
    }
}

/// How elements are found in words that were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    codec: Codec,
    span: Span,
}

impl Stored {
    /// The elements' own bytes, of those of all words that hold some.
    pub fn bytes<'b>(&self, words: &'b [u8]) -> &'b [u8] {
        let Self { codec, span } = self;
        let [start, end] = [span.start, span.start + span.len].map(|at| codec.bytes(at));
        let skipped = start % WORD_BYTES;
        &words[skipped as usize..(skipped + end - start) as usize]
    }

    /// All elements, of the bytes of a list of words each.
    pub fn decode(all: &[Self], words: &[&[u8]]) -> Vec<f32> {
        let mut values = Vec::new();
        for (stored, words) in all.iter().zip(words) {
            stored.codec.decode(stored.bytes(words), stored.span.len as usize, &mut values);
        }
        values
    }
}

/// Which of the arrays that share a layout: a class's n-th state. Parameters and gradients need no
/// such telling apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StateOf {
    pub class: usize,
    pub state: usize,
}

const ARRAY_USAGES: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

impl Buffers {
    /// How many there are now.
    pub fn mark(&self) -> Mark {
        let states = |states: &Vec<Vec<_>>| states.iter().map(Vec::len).collect();
        let states = self.states.iter().map(states).collect();
        Mark { arrays: [self.params.len(), self.grads.len()], states }
    }

    /// Gives up those that were made since.
    pub fn undo(&mut self, mark: &Mark) {
        let [params, grads] = mark.arrays;
        self.params.truncate(params);
        self.grads.truncate(grads);
        self.states.truncate(mark.states.len());
        for (states, mark) in self.states.iter_mut().zip(&mark.states) {
            states.truncate(mark.len());
            states.iter_mut().zip(mark).for_each(|(shards, &mark)| shards.truncate(mark));
        }
    }

    /// Creates what the layout has and these buffers have not yet: more of the arena and of the
    /// states. To be called within an error scope.
    pub fn extend(
        &mut self,
        device: &wgpu::Device,
        layout: &Layout,
        model: &Model,
        kernels: &Kernels,
    ) {
        let arrays = [&mut self.params, &mut self.grads];
        let labels = ["wgpu-optim parameters", "wgpu-optim gradients"];
        for (array, (buffers, label)) in arrays.into_iter().zip(labels).enumerate() {
            let new = &layout.arena[buffers.len()..];
            let create = |(len, codecs): &(u64, [Codec; 2])| {
                create(device, label, codecs[array].bytes(*len), false)
            };
            buffers.extend(new.iter().map(create));
        }
        self.states.resize(kernels.classes().len(), Vec::new());
        for ((kernel, class), states) in kernels.classes().zip(&mut self.states) {
            let arrays = class.formats.arrays(kernels.rule(model, kernel));
            states.resize(arrays.len(), Vec::new());
            for (index, (shards, (array, codec))) in states.iter_mut().zip(arrays).enumerate() {
                let (name, first) = (array.name, shards.len());
                let class = class.index;
                let state =
                    State { device, layout, model, kernels, class, index, name, codec, first };
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
        for ((kernel, class), states) in kernels.classes().zip(&self.states) {
            let arrays = class.formats.arrays(kernels.rule(model, kernel));
            arrays.iter().zip(states).for_each(|((array, _), shards)| add(array.name, shards));
        }
        needs.retain(|(_, bytes)| *bytes > 0);
        let total: u64 = needs.iter().map(|(_, bytes)| bytes).sum();
        let parts: Vec<_> =
            needs.iter().map(|(name, bytes)| format!("{bytes} for `{name}`")).collect();
        format!("the optimizer's arrays take {total} bytes, {}", parts.join(", "))
    }

    /// Sets the states of parameters from this index on to what they are before the first step,
    /// where they are in room that earlier buffers had left: it is 0, and no step's before the next
    /// submission.
    pub fn fill_room(
        &self,
        queue: &wgpu::Queue,
        layout: &Layout,
        model: &Model,
        (first_param, before): (usize, &Mark),
    ) {
        for param in first_param..model.params.len() {
            let Class { index: class, formats } = layout.class(param);
            let arrays = formats.arrays(model.rule_of(param)).into_iter().enumerate();
            for (state, (array, codec)) in arrays.filter(|(_, (array, _))| array.value != 0.0) {
                let of = StateOf { class, state };
                for span in &layout.params[param].states {
                    let old = |id| matches!(id, BufferId::States(n) if before.has(of, n));
                    let id = Some(span.buffer).filter(|&id| old(id));
                    let Some(buffer) = id.and_then(|id| self.get(id, of)) else { continue };
                    fill(codec, span, array.value as f32, |offset, bytes| {
                        queue.write_buffer(buffer, offset, bytes);
                    });
                }
            }
        }
    }

    /// What is bound of an array of this codec; `None` if there is no such buffer.
    pub fn window(
        &self,
        window: Window,
        of: StateOf,
        codec: Codec,
    ) -> Option<wgpu::BufferBinding<'_>> {
        let [offset, size] = window.bytes(codec);
        let (buffer, size) = (self.get(window.buffer, of)?, wgpu::BufferSize::new(size));
        Some(wgpu::BufferBinding { buffer, offset, size })
    }

    /// The buffer of this identity; `None` if there is none.
    fn get(&self, id: BufferId, of: StateOf) -> Option<&wgpu::Buffer> {
        match id {
            BufferId::Caller(n) => self.caller.known.get(n)?.as_ref().map(|(buffer, _)| buffer),
            BufferId::Params(n) => self.params.get(n),
            BufferId::Grads(n) => self.grads.get(n),
            BufferId::States(n) => self.states.get(of.class)?.get(of.state)?.get(n),
        }
    }

    /// An array's spans with their buffers.
    pub fn parts(&self, spans: &[Span], of: StateOf, codec: Codec) -> Vec<Part<'_>> {
        let part = |&span: &Span| Some(Part { buffer: self.get(span.buffer, of)?, span, codec });
        spans.iter().filter(|span| span.len > 0).filter_map(part).collect()
    }
}

/// One state of one class, about to have more buffers.
struct State<'a> {
    device: &'a wgpu::Device,
    layout: &'a Layout,
    model: &'a Model,
    kernels: &'a Kernels,
    class: usize,
    index: usize,
    name: &'static str,
    codec: Codec,
    /// The index of its first new buffer.
    first: usize,
}

impl State<'_> {
    /// The state's new buffers, all elements at the value they have before the first step. (What is
    /// kept beside parameters is 0, as they are.)
    fn create(&self) -> Vec<wgpu::Buffer> {
        let sizes = &self.layout.states[self.class][self.first..];
        if sizes.is_empty() {
            return Vec::new();
        }
        let value = |group: &Group| {
            group.rule.states().get(self.index).map_or(0.0, |state| state.value as f32)
        };
        let values: Vec<_> = self.model.groups.iter().map(value).collect();
        let of_param = |param: usize| values[self.model.params[param].group];
        let members: Vec<_> = (0..self.model.params.len())
            .filter(|&param| self.kernels.class(param).index == self.class)
            .collect();
        let filled = members.iter().any(|&param| of_param(param) != 0.0);
        let label = format!("wgpu-optim {}", self.name);
        let buffers: Vec<_> = sizes
            .iter()
            .map(|&len| create(self.device, &label, self.codec.bytes(len), filled))
            .collect();
        if filled {
            for (shard, buffer) in (self.first..).zip(&buffers) {
                let spans = |&param: &usize| {
                    let spans = self.layout.params[param].states.iter();
                    spans.map(move |span| (span, of_param(param)))
                };
                let here = members.iter().flat_map(spans);
                self.fill(buffer, here.filter(|(span, _)| span.buffer == BufferId::States(shard)));
            }
            buffers.iter().for_each(wgpu::Buffer::unmap);
        }
        buffers
    }

    /// Fills spans of a new buffer, which is mapped since its creation, each with its value.
    fn fill<'s>(&self, buffer: &wgpu::Buffer, spans: impl Iterator<Item = (&'s Span, f32)>) {
        // The whole buffer at once: ranges of their own would have to start at multiples of 8
        // bytes, which spans in 8 bits do not. It fails only if the buffer could not be created,
        // which the error scope reports.
        let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() else { return };
        for (span, value) in spans {
            fill(self.codec, span, value, |offset, bytes| {
                let start = offset as usize;
                view.slice(start..start + bytes.len()).copy_from_slice(bytes);
            });
        }
    }
}

/// Writes a value to all elements of a span, some at a time: by their offset, as they are stored.
fn fill(codec: Codec, span: &Span, value: f32, mut write: impl FnMut(u64, &[u8])) {
    let (chunks, rest) = (span.len / FILL_CHUNK, span.len % FILL_CHUNK);
    let offset = |chunk: u64| codec.bytes(span.start + chunk * FILL_CHUNK);
    if chunks > 0 {
        let bytes = encoded(codec, value, FILL_CHUNK);
        (0..chunks).for_each(|chunk| write(offset(chunk), &bytes));
    }
    if rest > 0 {
        write(offset(chunks), &encoded(codec, value, rest));
    }
}

/// So many elements of one value as they are stored, in whole words.
fn encoded(codec: Codec, value: f32, len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(&vec![value; len as usize], &mut bytes);
    bytes.resize(bytes.len().next_multiple_of(WORD_BYTES as usize), 0);
    bytes
}

/// Elements written to a buffer at a time, whole blocks.
const FILL_CHUNK: u64 = 1 << 14;

/// A buffer of so many bytes.
fn create(device: &wgpu::Device, label: &str, size: u64, mapped: bool) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: ARRAY_USAGES,
        mapped_at_creation: mapped,
    })
}
