//! Where every parameter's elements are, its gradient's and its states'.
//!
//! An array is a list of spans, since one buffer may be too small for it. States, and the arena
//! that holds parameters and gradients for callers without buffers of their own, are packed block
//! by block. Everything is counted in elements; bytes appear where the caller tells an offset and
//! where something is bound.

use crate::error::Error;
use crate::layout::formats::WORD_BYTES;
use crate::layout::geometry::BLOCK;
use crate::layout::kernels::Class;
use crate::layout::limits::Limits;
use crate::model::Codec;
use std::fmt::{self, Display};

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
    /// The n-th buffer of each state of the parameter's class.
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
pub struct Span {
    /// The buffer that holds them.
    pub buffer: BufferId,
    /// The index of the first in the buffer.
    pub start: u64,
    /// The index of the first within the parameter.
    pub first: u64,
    /// How many there are.
    pub len: u64,
}

/// Where the caller keeps one array: one of the caller's buffers, and an offset in bytes.
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
    /// How it is stored.
    pub class: Class,
    /// What its chances depend on.
    pub noise_key: u32,
    /// The caller's own places for parameter and gradient, or `None` for the arena.
    pub places: Option<[Place; 2]>,
}

/// Where a parameter is, in every array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The parameter's elements.
    pub params: Vec<Span>,
    /// The gradient's.
    pub grads: Vec<Span>,
    /// Each state's.
    pub states: Vec<Span>,
}

/// Where all parameters are, and the sizes of the buffers that the optimizer makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Of each parameter, in the caller's order.
    pub params: Vec<Placement>,
    /// Of each arena buffer its elements and how parameters and gradients are stored, which have
    /// one each.
    pub arena: Vec<(u64, [Codec; 2])>,
    /// For each class the elements of each state buffer; every state has one of each.
    pub states: Vec<Vec<u64>>,
    specs: Vec<ParamSpec>,
    /// Blocks that a buffer of the optimizer's own holds.
    buffer_blocks: u64,
    /// Memory for [`Self::check_overlaps`].
    taken: Vec<Taken>,
}

/// A range of bytes of one of the caller's buffers, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    buffer: usize,
    start: u64,
    end: u64,
    param: usize,
    array: usize,
}

/// A parameter's arrays that the caller may keep, for messages.
const ARRAYS: [&str; 2] = ["parameter buffer", "gradient buffer"];

impl Layout {
    /// Of no parameters.
    pub fn new(limits: &Limits) -> Self {
        let (params, arena, states, specs, taken) = Default::default();
        Self { params, arena, states, specs, buffer_blocks: limits.buffer_blocks(), taken }
    }

    /// The layout with more parameters, whose arrays are in buffers that it did not have before, or
    /// in the caller's, of these sizes in bytes.
    ///
    /// # Errors
    /// A place that is misaligned, reaches past its buffer, or overlaps another; or more elements
    /// than [`MAX_ELEMENTS`].
    pub fn with(
        &self,
        specs: &[ParamSpec],
        buffer_sizes: impl Fn(usize) -> u64,
        classes: usize,
    ) -> Result<Self, Error> {
        let mut layout = self.clone();
        layout.specs.extend_from_slice(specs);
        check_total(&layout.specs)?;
        for spec in specs {
            spec.places.map_or(Ok(()), |places| check_places(spec, places, &buffer_sizes))?;
        }
        layout.check_overlaps()?;
        let first = self.params.len();
        layout.params.extend(specs.iter().map(at_places));
        layout.extend_arena(first);

        // States are in the order in which dispatches go through them.
        let mut order: Vec<_> = (first..layout.specs.len()).collect();
        order.retain(|&param| layout.specs[param].len > 0);
        order.sort_by_key(|&param| layout.place(param));
        layout.states.resize(classes.max(self.states.len()), Vec::new());
        let packer = |sizes: &Vec<u64>| Packer::new(self.buffer_blocks, sizes.len());
        let mut states: Vec<_> = layout.states.iter().map(packer).collect();
        for param in order {
            let spec = &layout.specs[param];
            layout.params[param].states = states[spec.class.index].pack(spec.len, BufferId::States);
        }
        for (sizes, packer) in layout.states.iter_mut().zip(states) {
            sizes.extend(packer.into_sizes());
        }
        Ok(layout)
    }

    /// Packs the parameters from this index on that the caller does not keep, those that are stored
    /// alike together.
    fn extend_arena(&mut self, first: usize) {
        let codecs = |spec: &ParamSpec| [spec.class.formats.param, spec.class.formats.grad];
        let mut kinds: Vec<[Codec; 2]> = Vec::new();
        for spec in self.specs[first..].iter().filter(|spec| spec.places.is_none()) {
            if !kinds.contains(&codecs(spec)) {
                kinds.push(codecs(spec));
            }
        }
        for kind in kinds {
            let mut packer = Packer::new(self.buffer_blocks, self.arena.len());
            for (spec, placement) in self.specs.iter().zip(&mut self.params).skip(first) {
                if spec.places.is_none() && codecs(spec) == kind {
                    placement.params = packer.pack(spec.len, BufferId::Params);
                    placement.grads = placement.params.iter().map(in_grads).collect();
                }
            }
            self.arena.extend(packer.into_sizes().into_iter().map(|size| (size, kind)));
        }
    }

    /// A parameter's class.
    pub fn class(&self, param: usize) -> Class {
        self.specs[param].class
    }

    /// What a parameter's chances depend on.
    pub fn noise_key(&self, param: usize) -> u32 {
        self.specs[param].noise_key
    }

    /// Moves a parameter to these places of the caller's; where it was before, if that was the
    /// caller's too. [`Self::check_overlaps`] is to follow.
    ///
    /// # Errors
    /// A place is misaligned or reaches past its buffer. Nothing has changed then.
    pub fn set_places(
        &mut self,
        param: usize,
        places: [Place; 2],
        buffer_sizes: impl Fn(usize) -> u64,
    ) -> Result<Option<[Place; 2]>, Error> {
        check_places(&self.specs[param], places, buffer_sizes)?;
        let old = self.specs[param].places.replace(places);
        set_spans(&mut self.params[param], places, &self.specs[param]);
        Ok(old)
    }

    /// Takes a parameter from its place; only its states stay where they are. Its old places, if
    /// they were the caller's.
    pub fn remove(&mut self, param: usize) -> Option<[Place; 2]> {
        self.params[param].params.clear();
        self.params[param].grads.clear();
        self.specs[param].places.take()
    }

    /// Moves a parameter back to where the caller had it before, or to nowhere.
    pub fn restore(&mut self, param: usize, places: Option<[Place; 2]>) {
        self.remove(param);
        self.specs[param].places = places;
        if let Some(places) = places {
            set_spans(&mut self.params[param], places, &self.specs[param]);
        }
    }

    /// Where the caller keeps a parameter, if it does.
    pub fn places(&self, param: usize) -> Option<[Place; 2]> {
        self.specs[param].places
    }

    /// Whether a parameter is in the optimizer's own memory.
    pub fn is_in_arena(&self, param: usize) -> bool {
        self.specs[param].places.is_none() && !self.params[param].params.is_empty()
    }

    /// Whether a parameter is somewhere, or needs no room.
    pub fn has_place(&self, param: usize) -> bool {
        self.specs[param].len == 0 || !self.params[param].params.is_empty()
    }

    /// What parameters are sorted by, so that those of one dispatch follow one another.
    pub(crate) fn place(&self, param: usize) -> (usize, usize, Option<(BufferId, BufferId, u64)>) {
        let Placement { params, grads, .. } = &self.params[param];
        let first = params.first().zip(grads.first());
        let ParamSpec { kernel, class, .. } = &self.specs[param];
        (*kernel, class.index, first.map(|(p, g)| (p.buffer, g.buffer, p.start)))
    }

    /// Refuses places of the caller's that overlap.
    ///
    /// # Errors
    /// Two of them do.
    pub fn check_overlaps(&mut self) -> Result<(), Error> {
        let Self { specs, taken, .. } = self;
        taken.clear();
        for (param, spec) in specs.iter().enumerate().filter(|(_, spec)| spec.len > 0) {
            for (array, place) in spec.places.iter().flatten().enumerate() {
                let Place { buffer, offset: start } = *place;
                let end = start + spec.codec(array).bytes(spec.len);
                taken.push(Taken { buffer, start, end, param, array });
            }
        }
        taken.sort_unstable_by_key(|taken| (taken.buffer, taken.start));
        let overlap = taken.windows(2).find_map(|pair| match *pair {
            [a, b] if a.buffer == b.buffer && b.start < a.end => Some((a, b)),
            _ => None,
        });
        let Some((first, next)) = overlap else { return Ok(()) };
        let owner = Owner { name: &specs[first.param].name, array: ARRAYS[first.array] };
        Err(Error::parameter(
            &specs[next.param].name,
            format!("a range of the {} of its own", ARRAYS[next.array]),
            format!(
                "bytes {} to {} of a buffer in which {owner} ends at byte {}",
                next.start, next.end, first.end
            ),
            "Give parameters and gradients disjoint ranges",
        ))
    }
}

impl ParamSpec {
    /// How the parameter is stored, or its gradient.
    fn codec(&self, array: usize) -> Codec {
        let formats = &self.class.formats;
        if array == 0 { formats.param } else { formats.grad }
    }
}

/// Where parameter and gradient are, if the caller keeps them.
fn at_places(spec: &ParamSpec) -> Placement {
    let mut placement = Placement { params: Vec::new(), grads: Vec::new(), states: Vec::new() };
    if let Some(places) = spec.places {
        set_spans(&mut placement, places, spec);
    }
    placement
}

/// The arena's gradients are as its parameters.
fn in_grads(span: &Span) -> Span {
    match span.buffer {
        BufferId::Params(n) => Span { buffer: BufferId::Grads(n), ..*span },
        _ => *span,
    }
}

/// Puts a parameter's and a gradient's elements at the caller's places.
fn set_spans(placement: &mut Placement, places: [Place; 2], spec: &ParamSpec) {
    let arrays = [&mut placement.params, &mut placement.grads];
    for (array, (spans, Place { buffer, offset })) in arrays.into_iter().zip(places).enumerate() {
        spans.clear();
        let start = spec.codec(array).element_at(offset);
        spans.push(Span { buffer: BufferId::Caller(buffer), start, first: 0, len: spec.len });
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
    fn new(capacity: u64, existing: usize) -> Self {
        Self { capacity, existing, used: Vec::new() }
    }

    /// Places an array. It is split only if no single buffer can hold it.
    fn pack(&mut self, len: u64, buffer: impl Fn(usize) -> BufferId) -> Vec<Span> {
        let mut spans = Vec::new();
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
            let span_len = (taken * BLOCK).min(len - first);
            let start = self.used[index] * BLOCK;
            let buffer = buffer(self.existing + index);
            spans.push(Span { buffer, start, first, len: span_len });
            self.used[index] += taken;
            first += span_len;
        }
        spans
    }

    fn into_sizes(self) -> Vec<u64> {
        self.used.into_iter().map(|blocks| blocks * BLOCK).collect()
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

/// Checks a parameter's places against their buffers.
fn check_places(
    spec: &ParamSpec,
    places: [Place; 2],
    buffer_sizes: impl Fn(usize) -> u64,
) -> Result<(), Error> {
    let check = |(array, place): (usize, Place)| {
        check_place(spec, place, (ARRAYS[array], spec.codec(array)), buffer_sizes(place.buffer))
    };
    places.into_iter().enumerate().try_for_each(check)
}

fn check_place(
    spec: &ParamSpec,
    place: Place,
    (array, codec): (&str, Codec),
    size: u64,
) -> Result<(), Error> {
    let alignment = codec.alignment();
    if !place.offset.is_multiple_of(alignment) {
        return Err(Error::parameter(
            &spec.name,
            format!("an offset into the {array} that is a multiple of {alignment} bytes"),
            place.offset,
            "Align the tensor to its elements",
        ));
    }
    // Bindings are in words: an element in half of one needs it whole.
    let end = spec.len.checked_mul(codec.bytes(1)).and_then(|n| n.checked_add(place.offset));
    match end.and_then(|end| end.checked_next_multiple_of(WORD_BYTES)) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::parameter(
            &spec.name,
            format!("a {array} that holds {} elements from byte {} on", spec.len, place.offset),
            format!("{size} bytes"),
            "Make the buffer larger (it is bound in words of 4 bytes), or correct length and offset",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Formats;

    fn spec(name: &str, len: u64, places: Option<[(usize, u64); 2]>) -> ParamSpec {
        let places = places.map(|p| p.map(|(buffer, offset)| Place { buffer, offset }));
        let class = Class { index: 0, formats: Formats::f32(1) };
        ParamSpec { name: name.into(), len, kernel: 0, class, noise_key: 0, places }
    }

    fn laid_out(specs: &[ParamSpec], sizes: &[u64], buffer_blocks: u64) -> Result<Layout, Error> {
        let (params, arena, states, specs_before, taken) = Default::default();
        let empty = Layout { params, arena, states, specs: specs_before, buffer_blocks, taken };
        empty.with(specs, |buffer| sizes[buffer], 1)
    }

    #[test]
    fn an_array_is_split_only_if_no_buffer_can_hold_it() {
        let specs = [spec("a", 300, None), spec("b", 600, None), spec("c", 1100, None)];
        let layout = laid_out(&specs, &[], 4).expect("laid out");
        let spans = |i: usize| {
            layout.params[i]
                .params
                .iter()
                .map(|r| (r.buffer, r.start / BLOCK, r.first, r.len))
                .collect::<Vec<_>>()
        };
        assert_eq!(spans(0), [(BufferId::Params(0), 0, 0, 300)]);
        assert_eq!(spans(1), [(BufferId::Params(1), 0, 0, 600)]);
        assert_eq!(
            spans(2),
            [(BufferId::Params(1), 3, 0, 256), (BufferId::Params(2), 0, 256, 844)]
        );
        let sizes: Vec<_> = layout.arena.iter().map(|(size, _)| *size).collect();
        assert_eq!(sizes, [2 * BLOCK, 4 * BLOCK, 4 * BLOCK]);
    }

    #[test]
    fn disjoint_ranges_of_one_buffer_are_accepted_and_overlaps_refused() {
        let pooled = |grad_offset| [spec("a", 4, Some([(0, 4), (0, grad_offset)]))];
        assert!(laid_out(&pooled(20), &[64], 1 << 10).is_ok());
        let refused = laid_out(&pooled(16), &[64], 1 << 10).expect_err("refused").to_string();
        assert!(refused.contains("gradient buffer") && refused.contains("disjoint"), "{refused}");
    }

    #[test]
    fn empty_parameters_take_no_room_and_overlap_nothing() {
        let specs = [
            spec("a", 4, Some([(0, 0), (1, 0)])),
            spec("empty", 0, Some([(0, 8), (1, 8)])),
            spec("empty too", 0, None),
        ];
        let layout = laid_out(&specs, &[16, 16], 1 << 10).expect("laid out");
        assert_eq!(layout.params.iter().filter(|s| !s.params.is_empty()).count(), 2);
        assert!(layout.arena.is_empty());
        assert_eq!(layout.states, [[BLOCK]]);
    }
}
