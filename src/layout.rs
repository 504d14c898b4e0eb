//! Where everything lies: every parameter's elements, its gradient's and its states', as plain data.
//!
//! An array is a list of runs, since one buffer may be too small for it. States, and the arena that
//! holds parameters and gradients for callers without buffers of their own, are packed block by block.

use crate::error::Error;
use crate::format::{BLOCK, ELEMENT_BYTES};
use std::fmt::{self, Display};

/// Bytes of a block of one array.
pub const BLOCK_BYTES: u64 = BLOCK * ELEMENT_BYTES;

/// The most elements of an optimizer: 1 TiB of f32, more than any device holds.
pub const MAX_ELEMENTS: u64 = 1 << 38;

/// A buffer, by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferId {
    /// The caller's n-th buffer.
    Caller(usize),
    /// The arena's n-th buffer for parameters.
    Params(usize),
    /// The arena's n-th buffer for gradients.
    Grads(usize),
    /// The n-th buffer of each state of the parameter's kernel.
    States(usize),
}

impl BufferId {
    /// Whether the buffer is the optimizer's own, padded to whole blocks.
    pub fn is_owned(self) -> bool {
        !matches!(self, Self::Caller(_))
    }
}

/// Consecutive elements of one array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The buffer that holds them.
    pub buffer: BufferId,
    /// Where they start there, in bytes.
    pub offset: u64,
    /// The index of the first within the parameter.
    pub first: u64,
    /// How many there are.
    pub len: u64,
}

/// Where the caller keeps one array: a buffer of the list given to [`Layout::new`], and an offset in
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The index of the buffer.
    pub buffer: usize,
    /// The offset in bytes.
    pub offset: u64,
}

/// A parameter as the caller describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamSpec {
    /// Its name, unique in the optimizer.
    pub name: String,
    /// Its number of elements.
    pub len: u64,
    /// The kernel that updates it.
    pub kernel: usize,
    /// The caller's own places for parameter and gradient, or `None` for the arena.
    pub places: Option<[Place; 2]>,
}

/// Where a parameter lies: its segments in every array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The parameter's elements.
    pub params: Vec<Run>,
    /// The gradient's.
    pub grads: Vec<Run>,
    /// Each state's.
    pub states: Vec<Run>,
}

/// All segments, and the sizes of the buffers that the optimizer makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// One for each parameter, in the caller's order.
    pub segments: Vec<Segment>,
    /// Bytes of each arena buffer; parameters and gradients have one each.
    pub arena: Vec<u64>,
    /// For each kernel the bytes of each state buffer; every state has one of each.
    pub states: Vec<Vec<u64>>,
    specs: Vec<ParamSpec>,
    max_buffer: u64,
}

impl Layout {
    /// Lays out parameters whose own places, if any, are in buffers of `buffer_sizes` bytes.
    /// No buffer that the optimizer makes is larger than `max_buffer` bytes.
    ///
    /// # Errors
    /// A place that is misaligned, reaches past its buffer, or overlaps another; or more elements than
    /// [`MAX_ELEMENTS`].
    pub fn new(
        specs: &[ParamSpec],
        buffer_sizes: &[u64],
        kernels: usize,
        max_buffer: u64,
    ) -> Result<Self, Error> {
        let (segments, arena, states) = Default::default();
        let empty = Self { segments, arena, states, specs: Vec::new(), max_buffer };
        empty.with(specs, buffer_sizes, kernels)
    }

    /// The layout with more parameters, whose arrays lie in buffers that it did not have before.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(
        &self,
        specs: &[ParamSpec],
        buffer_sizes: &[u64],
        kernels: usize,
    ) -> Result<Self, Error> {
        let mut layout = self.clone();
        layout.specs.extend_from_slice(specs);
        check_total(&layout.specs)?;
        let places = layout.specs.iter().map(|spec| (spec, spec.places));
        check_places(places, buffer_sizes)?;
        let first = self.segments.len();
        let mut arena = Packer::new(self.max_buffer, self.arena.len());
        layout.segments.extend(specs.iter().map(|spec| arrays(spec, &mut arena)));
        layout.arena.extend(arena.into_sizes());

        // States lie in the order in which dispatches go through them.
        let mut order: Vec<_> = (first..layout.specs.len()).collect();
        order.retain(|&param| layout.specs[param].len > 0);
        order.sort_by_key(|&param| layout.place(param));
        layout.states.resize(kernels.max(self.states.len()), Vec::new());
        let packer = |sizes: &Vec<u64>| Packer::new(self.max_buffer, sizes.len());
        let mut states: Vec<_> = layout.states.iter().map(packer).collect();
        for param in order {
            let spec = &layout.specs[param];
            layout.segments[param].states = states[spec.kernel].pack(spec.len, BufferId::States);
        }
        for (sizes, packer) in layout.states.iter_mut().zip(states) {
            sizes.extend(packer.into_sizes());
        }
        Ok(layout)
    }

    /// Refuses places for the parameters that cannot be theirs; those without one take none.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check_places(
        &self,
        places: &[Option<[Place; 2]>],
        buffer_sizes: &[u64],
    ) -> Result<(), Error> {
        check_places(self.specs.iter().zip(places.iter().copied()), buffer_sizes)
    }

    /// Moves parameters to these places, which were checked; those without one stay where they are.
    pub fn set_places(&mut self, places: &[Option<[Place; 2]>]) {
        for ((spec, segment), places) in self.specs.iter_mut().zip(&mut self.segments).zip(places) {
            spec.places = *places;
            if let Some(places) = *places {
                set_runs(segment, places, spec.len);
            }
        }
    }

    /// Leaves a parameter nowhere; only its states stay where they are.
    pub fn remove(&mut self, param: usize) {
        self.specs[param].places = None;
        self.segments[param].params.clear();
        self.segments[param].grads.clear();
    }

    /// Whether a parameter lies somewhere, or needs no room.
    pub fn has_place(&self, param: usize) -> bool {
        self.specs[param].len == 0 || !self.segments[param].params.is_empty()
    }

    /// What parameters are sorted by, so that those of one dispatch follow one another.
    pub(crate) fn place(&self, param: usize) -> (usize, Option<(BufferId, BufferId, u64)>) {
        let Segment { params, grads, .. } = &self.segments[param];
        let first = params.first().zip(grads.first());
        (self.specs[param].kernel, first.map(|(p, g)| (p.buffer, g.buffer, p.offset)))
    }
}

/// Where parameter and gradient lie: at the caller's places, or in the arena.
fn arrays(spec: &ParamSpec, arena: &mut Packer) -> Segment {
    let mut segment = Segment { params: Vec::new(), grads: Vec::new(), states: Vec::new() };
    match spec.places {
        Some(places) => set_runs(&mut segment, places, spec.len),
        None => {
            let in_grads = |run: &Run| match run.buffer {
                BufferId::Params(n) => Run { buffer: BufferId::Grads(n), ..*run },
                _ => *run,
            };
            segment.params = arena.pack(spec.len, BufferId::Params);
            segment.grads = segment.params.iter().map(in_grads).collect();
        }
    }
    segment
}

/// Puts a parameter's and a gradient's elements at the caller's places.
fn set_runs(segment: &mut Segment, places: [Place; 2], len: u64) {
    for (runs, place) in [&mut segment.params, &mut segment.grads].into_iter().zip(places) {
        let Place { buffer, offset } = place;
        runs.clear();
        runs.push(Run { buffer: BufferId::Caller(buffer), offset, first: 0, len });
    }
}

/// Hands out whole blocks of as few buffers as a size limit allows.
#[derive(Debug)]
struct Packer {
    capacity: u64,
    /// The number of buffers that were there before.
    existing: usize,
    /// Blocks handed out from each buffer.
    used: Vec<u64>,
}

impl Packer {
    fn new(max_buffer: u64, existing: usize) -> Self {
        Self { capacity: (max_buffer / BLOCK_BYTES).max(1), existing, used: Vec::new() }
    }

    /// Places an array. It is split only if no single buffer can hold it.
    fn pack(&mut self, len: u64, buffer: impl Fn(usize) -> BufferId) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut first = 0;
        while first < len {
            let wanted = (len - first).div_ceil(BLOCK);
            let room = self.used.last().map_or(0, |used| self.capacity - used);
            if room == 0 || (wanted > room && wanted <= self.capacity) {
                self.used.push(0);
                continue;
            }
            let index = self.used.len() - 1;
            let taken = wanted.min(room);
            let run_len = (taken * BLOCK).min(len - first);
            let offset = self.used[index] * BLOCK_BYTES;
            let buffer = buffer(self.existing + index);
            runs.push(Run { buffer, offset, first, len: run_len });
            self.used[index] += taken;
            first += run_len;
        }
        runs
    }

    fn into_sizes(self) -> Vec<u64> {
        self.used.into_iter().map(|blocks| blocks * BLOCK_BYTES).collect()
    }
}

/// One array of one parameter, for messages.
#[derive(Clone, Copy)]
struct Owner<'a> {
    name: &'a str,
    array: &'static str,
}

impl Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} of `{}`", self.array, self.name)
    }
}

/// Refuses a model that no memory holds, before anything is sized by it.
fn check_total(specs: &[ParamSpec]) -> Result<(), Error> {
    let mut total = 0u64;
    for spec in specs {
        total = total.saturating_add(spec.len);
        if total > MAX_ELEMENTS {
            return Err(Error::parameter(
                &spec.name,
                format!("at most {MAX_ELEMENTS} elements in an optimizer"),
                format!("{total} elements up to and with this parameter's {}", spec.len),
                "Correct the length, or divide the model among devices",
            ));
        }
    }
    Ok(())
}

/// Refuses places that are misaligned, reach past their buffer, or overlap.
fn check_places<'a>(
    specs: impl IntoIterator<Item = (&'a ParamSpec, Option<[Place; 2]>)>,
    buffer_sizes: &[u64],
) -> Result<(), Error> {
    let mut taken = Vec::new();
    for (spec, places) in specs {
        let Some(places) = places else { continue };
        for (place, array) in places.into_iter().zip(["parameter buffer", "gradient buffer"]) {
            let end = check_place(spec, place, array, buffer_sizes[place.buffer])?;
            if spec.len > 0 {
                taken.push((place.buffer, place.offset, end, Owner { name: &spec.name, array }));
            }
        }
    }
    taken.sort_unstable_by_key(|&(buffer, offset, ..)| (buffer, offset));
    for pair in taken.windows(2) {
        let [(buffer, _, end, owner), (next_buffer, next_offset, next_end, next)] = *pair else {
            continue;
        };
        if buffer == next_buffer && next_offset < end {
            return Err(Error::parameter(
                next.name,
                format!("a range of the {} of its own", next.array),
                format!(
                    "bytes {next_offset} to {next_end} of a buffer in which {owner} ends at byte {end}"
                ),
                "Give parameters and gradients disjoint ranges",
            ));
        }
    }
    Ok(())
}

/// Checks one place against its buffer; the end of its range in bytes.
fn check_place(spec: &ParamSpec, place: Place, array: &str, size: u64) -> Result<u64, Error> {
    if !place.offset.is_multiple_of(ELEMENT_BYTES) {
        return Err(Error::parameter(
            &spec.name,
            format!("an offset into the {array} that is a multiple of {ELEMENT_BYTES} bytes"),
            place.offset,
            "Align the tensor to its elements",
        ));
    }
    let end = spec.len.checked_mul(ELEMENT_BYTES).and_then(|n| n.checked_add(place.offset));
    match end {
        Some(end) if end <= size => Ok(end),
        _ => Err(Error::parameter(
            &spec.name,
            format!("a {array} that holds {} elements from byte {} on", spec.len, place.offset),
            format!("{size} bytes"),
            "Make the buffer larger, or correct length and offset",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, len: u64, places: Option<[(usize, u64); 2]>) -> ParamSpec {
        let places = places.map(|p| p.map(|(buffer, offset)| Place { buffer, offset }));
        ParamSpec { name: name.into(), len, kernel: 0, places }
    }

    #[test]
    fn an_array_is_split_only_if_no_buffer_can_hold_it() {
        let specs = [spec("a", 300, None), spec("b", 600, None), spec("c", 1100, None)];
        let layout = Layout::new(&specs, &[], 1, 4 * BLOCK_BYTES).expect("laid out");
        let runs = |i: usize| {
            layout.segments[i]
                .params
                .iter()
                .map(|r| (r.buffer, r.offset / BLOCK_BYTES, r.first, r.len))
                .collect::<Vec<_>>()
        };
        assert_eq!(runs(0), [(BufferId::Params(0), 0, 0, 300)]);
        assert_eq!(runs(1), [(BufferId::Params(1), 0, 0, 600)]);
        assert_eq!(runs(2), [(BufferId::Params(1), 3, 0, 256), (BufferId::Params(2), 0, 256, 844)]);
        assert_eq!(layout.arena, [2 * BLOCK_BYTES, 4 * BLOCK_BYTES, 4 * BLOCK_BYTES]);
    }

    #[test]
    fn disjoint_ranges_of_one_buffer_are_accepted_and_overlaps_refused() {
        let pooled = |grad_offset| [spec("a", 4, Some([(0, 4), (0, grad_offset)]))];
        assert!(Layout::new(&pooled(20), &[64], 1, 1 << 20).is_ok());
        let refused = Layout::new(&pooled(16), &[64], 1, 1 << 20).expect_err("refused").to_string();
        assert!(refused.contains("gradient buffer") && refused.contains("disjoint"), "{refused}");
    }

    #[test]
    fn empty_parameters_take_no_room_and_overlap_nothing() {
        let specs = [
            spec("a", 4, Some([(0, 0), (1, 0)])),
            spec("empty", 0, Some([(0, 8), (1, 8)])),
            spec("empty too", 0, None),
        ];
        let layout = Layout::new(&specs, &[16, 16], 1, 1 << 20).expect("laid out");
        assert_eq!(layout.segments.iter().filter(|s| !s.params.is_empty()).count(), 2);
        assert_eq!(layout.arena, [] as [u64; 0]);
        assert_eq!(layout.states, [[BLOCK_BYTES]]);
    }
}
