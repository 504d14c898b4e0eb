//! Where every parameter's elements are, its gradient's and its states'.
//!
//! An array is a list of spans, since one buffer may be too small for it. States, and the arena
//! that holds parameters and gradients for callers without buffers of their own, are packed block
//! by block. Everything is counted in elements; bytes appear where the caller tells an offset and
//! where something is bound.

use crate::error::Error;
use crate::layout::formats::WORD_BYTES;
use crate::layout::kernels::Class;
use crate::layout::limits::Limits;
pub use crate::layout::spans::{BufferId, Span};
use crate::layout::spans::{Packer, Use};
use crate::model::Codec;
use std::fmt::{self, Display};

/// The most elements of an optimizer: 1 TiB of f32, more than any device holds.
pub const MAX_ELEMENTS: u64 = 1 << 38;

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
    /// What of each of these buffers is taken.
    arena_use: Vec<Use>,
    states_use: Vec<Vec<Use>>,
    /// Blocks that a buffer of the optimizer's own holds.
    buffer_blocks: u64,
    /// Whether gradients of the caller's may overlap one another.
    shared_grads: bool,
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

/// The gradient among them.
const GRAD: usize = 1;

impl Layout {
    /// Of no parameters.
    pub fn new(limits: &Limits) -> Self {
        Self::in_buffers_of(limits.buffer_blocks())
    }

    /// Of no parameters, in buffers of at most so many blocks.
    fn in_buffers_of(buffer_blocks: u64) -> Self {
        let (params, arena, states, specs, taken) = Default::default();
        let (arena_use, states_use) = Default::default();
        let shared_grads = false;
        Self {
            params,
            arena,
            states,
            specs,
            arena_use,
            states_use,
            buffer_blocks,
            shared_grads,
            taken,
        }
    }

    /// Lets gradients of the caller's overlap one another, or not.
    pub fn share_grads(self, shared_grads: bool) -> Self {
        Self { shared_grads, ..self }
    }

    /// Whether gradients of the caller's may overlap one another.
    pub fn shares_grads(&self) -> bool {
        self.shared_grads
    }

    /// The layout with more parameters. Their arrays are in the caller's buffers, of these sizes in
    /// bytes, in room that the optimizer's own have left, or in new ones.
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
        layout.states_use.resize(layout.states.len(), Vec::new());
        let (grows, most) = (first > 0, self.buffer_blocks);
        let buffers = layout.states.iter().zip(&layout.states_use);
        let all = |(sizes, uses): (&Vec<u64>, &Vec<Use>)| {
            let existing = sizes.iter().copied().zip(uses.iter().copied()).enumerate();
            Packer::new((most, grows), sizes.len(), existing)
        };
        let mut packers: Vec<_> = buffers.map(all).collect();
        for param in order {
            let spec = &layout.specs[param];
            let packer = &mut packers[spec.class.index];
            layout.params[param].states = packer.pack(spec.len, BufferId::States);
        }
        let buffers = layout.states.iter_mut().zip(&mut layout.states_use);
        for ((sizes, uses), packer) in buffers.zip(packers) {
            packer.finish(uses, |size| sizes.push(size));
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
        let (grows, most) = (first > 0, self.buffer_blocks);
        for kind in kinds {
            let known = self.arena.iter().zip(&self.arena_use).enumerate();
            let alike = known.filter(|(_, ((_, of), _))| *of == kind);
            let alike = alike.map(|(index, ((size, _), &used))| (index, (*size, used)));
            let mut packer = Packer::new((most, grows), self.arena.len(), alike);
            for (spec, placement) in self.specs.iter().zip(&mut self.params).skip(first) {
                if spec.places.is_none() && codecs(spec) == kind {
                    placement.params = packer.pack(spec.len, BufferId::Params);
                    placement.grads = placement.params.iter().map(in_grads).collect();
                }
            }
            let arena = &mut self.arena;
            packer.finish(&mut self.arena_use, |size| arena.push((size, kind)));
        }
    }

    /// A parameter's class.
    pub fn class(&self, param: usize) -> Class {
        self.specs[param].class
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

    /// Refuses places of the caller's that overlap, but for gradients where they may.
    ///
    /// # Errors
    /// Two of them do.
    pub fn check_overlaps(&mut self) -> Result<(), Error> {
        let Self { specs, taken, shared_grads, .. } = self;
        taken.clear();
        for (param, spec) in specs.iter().enumerate() {
            taken.extend(spec.taken(param).into_iter().flatten());
        }
        let Some((first, next)) = overlap(taken, *shared_grads) else { return Ok(()) };
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

    /// Refuses gradients that overlap among these parameters, which are updated together.
    ///
    /// # Errors
    /// Two of them do.
    pub fn check_together(&self, params: &[usize]) -> Result<(), Error> {
        if !self.shared_grads {
            return Ok(());
        }
        let grad = |&param: &usize| self.specs[param].taken(param)[GRAD];
        let mut taken: Vec<_> = params.iter().filter_map(grad).collect();
        let Some((first, next)) = overlap(&mut taken, false) else { return Ok(()) };
        let (other, end) = (&self.specs[first.param].name, first.end);
        Err(Error::parameter(
            &self.specs[next.param].name,
            format!("a gradient apart from that of `{other}`, which is stepped in the same call"),
            format!(
                "bytes {} to {} of a buffer in which that one ends at byte {end}",
                next.start, next.end
            ),
            "Step them by a call each, as soon as each gradient is there",
        ))
    }
}

/// Two ranges that overlap, if there are any; gradients may overlap gradients if they are shared.
fn overlap(taken: &mut [Taken], shared_grads: bool) -> Option<(Taken, Taken)> {
    taken.sort_unstable_by_key(|taken| (taken.buffer, taken.start));
    // Of parameters and of gradients the range that reaches furthest so far.
    let mut furthest: [Option<Taken>; 2] = [None; 2];
    for &next in taken.iter() {
        let meets = |other: &&Taken| other.buffer == next.buffer && next.start < other.end;
        let others = if shared_grads && next.array == GRAD { &furthest[..GRAD] } else { &furthest };
        if let Some(first) = others.iter().flatten().find(meets) {
            return Some((*first, next));
        }
        let own = &mut furthest[next.array];
        if own.is_none_or(|own| own.buffer != next.buffer || own.end < next.end) {
            *own = Some(next);
        }
    }
    None
}

impl ParamSpec {
    /// The ranges of parameter and gradient, if the caller keeps them.
    fn taken(&self, param: usize) -> [Option<Taken>; 2] {
        let places = self.places.filter(|_| self.len > 0);
        std::array::from_fn(|array| {
            let Place { buffer, offset: start } = places?[array];
            let end = start + self.codec(array).bytes(self.len);
            Some(Taken { buffer, start, end, param, array })
        })
    }

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
        let start = offset / spec.codec(array).bytes(1);
        spans.push(Span { buffer: BufferId::Caller(buffer), start, first: 0, len: spec.len });
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
    use crate::layout::geometry::BLOCK;
    use crate::model::Formats;

    fn spec(name: &str, len: u64, places: Option<[(usize, u64); 2]>) -> ParamSpec {
        let places = places.map(|p| p.map(|(buffer, offset)| Place { buffer, offset }));
        let class = Class { index: 0, formats: Formats::f32(1) };
        ParamSpec { name: name.into(), len, kernel: 0, class, places }
    }

    fn laid_out(specs: &[ParamSpec], sizes: &[u64], buffer_blocks: u64) -> Result<Layout, Error> {
        Layout::in_buffers_of(buffer_blocks).with(specs, |buffer| sizes[buffer], 1)
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
