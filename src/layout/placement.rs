//! Where every parameter's elements are, its gradient's and its states'.
//!
//! An array is a list of spans, since one buffer may be too small for it. States, and the arena
//! that holds parameters and gradients for callers without buffers of their own, are packed block
//! by block. Everything is counted in elements; bytes appear where the caller tells an offset and
//! where something is bound.

use crate::error::Error;
use crate::layout::formats::WORD_BYTES;
use crate::layout::geometry::NARROW;
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
    /// What of the caller's buffers is taken, in order.
    taken: Vec<Taken>,
    /// Whether that has the present places, rather than those before some moved.
    is_current: bool,
    totals: Totals,
}

/// What of all parameters is asked for again with every one that is added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Elements.
    pub elements: u64,
    /// Parameters that are very short.
    pub short: usize,
    /// Whether the caller keeps some parameters, or did.
    pub has_callers: bool,
}

/// What there was before parameters were added, to go back to.
#[derive(Debug)]
pub struct Mark {
    params: usize,
    arena: usize,
    /// Of each class.
    states: Vec<usize>,
    arena_use: Vec<Use>,
    states_use: Vec<Vec<Use>>,
    totals: Totals,
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
        let (arena_use, states_use, totals) = Default::default();
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
            is_current: true,
            totals,
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

    /// What there is now.
    pub fn mark(&self) -> Mark {
        Mark {
            params: self.params.len(),
            arena: self.arena.len(),
            states: self.states.iter().map(Vec::len).collect(),
            arena_use: self.arena_use.clone(),
            states_use: self.states_use.clone(),
            totals: self.totals,
        }
    }

    /// Goes back to what there was, as if nothing had been added since.
    pub fn undo(&mut self, mark: Mark) {
        self.params.truncate(mark.params);
        self.specs.truncate(mark.params);
        self.arena.truncate(mark.arena);
        self.states.truncate(mark.states.len());
        self.states.iter_mut().zip(mark.states).for_each(|(sizes, mark)| sizes.truncate(mark));
        (self.arena_use, self.states_use) = (mark.arena_use, mark.states_use);
        self.totals = mark.totals;
        self.is_current = false;
    }

    /// What is known of all parameters.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Adds parameters, at a cost that depends on these alone. Their arrays are in the caller's
    /// buffers, of these sizes in bytes, in room that the optimizer's own have left, or in new
    /// ones. After an error [`Self::undo`] is to follow.
    ///
    /// # Errors
    /// A place that is misaligned, reaches past its buffer, or overlaps another; or more elements
    /// than [`MAX_ELEMENTS`].
    pub fn extend(
        &mut self,
        specs: Vec<ParamSpec>,
        buffer_sizes: impl Fn(usize) -> u64,
        classes: usize,
    ) -> Result<(), Error> {
        for spec in &specs {
            self.totals.add(spec)?;
            spec.places.map_or(Ok(()), |places| check_places(spec, places, &buffer_sizes))?;
        }
        let first = self.params.len();
        self.params.extend(specs.iter().map(at_places));
        self.specs.extend(specs);
        self.take_places(first)?;
        self.extend_arena(first);
        self.extend_states(first, classes);
        Ok(())
    }

    /// Packs the states of the parameters from this index on.
    fn extend_states(&mut self, first: usize, classes: usize) {
        // States are in the order in which dispatches go through them.
        let mut order: Vec<_> = (first..self.specs.len()).collect();
        order.retain(|&param| self.specs[param].len > 0);
        order.sort_by_key(|&param| self.place(param));
        self.states.resize(classes.max(self.states.len()), Vec::new());
        self.states_use.resize(self.states.len(), Vec::new());
        let (grows, most) = (first > 0, self.buffer_blocks);
        let buffers = self.states.iter().zip(&self.states_use);
        let all = |(sizes, uses): (&Vec<u64>, &Vec<Use>)| {
            let existing = sizes.iter().copied().zip(uses.iter().copied()).enumerate();
            Packer::new((most, grows), sizes.len(), existing)
        };
        let mut packers: Vec<_> = buffers.map(all).collect();
        for param in order {
            let spec = &self.specs[param];
            let packer = &mut packers[spec.class.index];
            self.params[param].states = packer.pack(spec.len, BufferId::States);
        }
        let buffers = self.states.iter_mut().zip(&mut self.states_use);
        for ((sizes, uses), packer) in buffers.zip(packers) {
            packer.finish(uses, |size| sizes.push(size));
        }
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

    /// Whether a parameter is so short that few threads update it, if there are many such: elements
    /// of 8 bits are the work of a whole block.
    pub(crate) fn is_short(&self, param: usize) -> bool {
        self.specs[param].is_short()
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
        self.is_current = false;
        let old = self.specs[param].places.replace(places);
        set_spans(&mut self.params[param], places, &self.specs[param]);
        Ok(old)
    }

    /// Takes a parameter from its place; only its states stay where they are. Its old places, if
    /// they were the caller's.
    pub fn remove(&mut self, param: usize) -> Option<[Place; 2]> {
        self.is_current = false;
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
        taken.extend(specs.iter().enumerate().flat_map(|(param, spec)| spec.takes(param)));
        if let Some((first, next)) = overlap(taken, *shared_grads) {
            return Err(overlapping(specs, first, next));
        }
        self.is_current = true;
        Ok(())
    }

    /// Refuses places of the parameters from this index on that overlap others. What is known of
    /// all others is used, where they are many more.
    fn take_places(&mut self, first: usize) -> Result<(), Error> {
        let Self { specs, taken, is_current, shared_grads, .. } = self;
        let new = || (first..).zip(&specs[first..]).flat_map(|(param, spec)| spec.takes(param));
        match new().count() {
            0 => return Ok(()),
            count if *is_current && !*shared_grads && count < taken.len() / FEW => {}
            _ => return self.check_overlaps(),
        }
        for range in new() {
            let at = taken.partition_point(|other| other.start() < range.start());
            if let Some(&before) = at.checked_sub(1).and_then(|before| taken.get(before)) {
                check_pair(specs, before, range)?;
            }
            if let Some(&after) = taken.get(at) {
                check_pair(specs, range, after)?;
            }
            taken.insert(at, range);
        }
        Ok(())
    }

    /// Refuses gradients that overlap among these parameters, which are updated together.
    ///
    /// # Errors
    /// Two of them do.
    pub fn check_together(&self, params: &[usize]) -> Result<(), Error> {
        if !self.shared_grads {
            return Ok(());
        }
        let grad =
            |&param: &usize| self.specs[param].takes(param).find(|taken| taken.array == GRAD);
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

/// Ranges are inserted among others one by one if they are fewer than one in so many; else all are
/// sorted.
const FEW: usize = 8;

impl Taken {
    /// What ranges are sorted by.
    fn start(&self) -> (usize, u64) {
        (self.buffer, self.start)
    }
}

/// Refuses two neighbours among the ranges if they overlap.
fn check_pair(specs: &[ParamSpec], first: Taken, next: Taken) -> Result<(), Error> {
    if first.buffer != next.buffer || first.end <= next.start {
        return Ok(());
    }
    Err(overlapping(specs, first, next))
}

fn overlapping(specs: &[ParamSpec], first: Taken, next: Taken) -> Error {
    let owner = Owner { name: &specs[first.param].name, array: ARRAYS[first.array] };
    Error::parameter(
        &specs[next.param].name,
        format!("a range of the {} of its own", ARRAYS[next.array]),
        format!(
            "bytes {} to {} of a buffer in which {owner} ends at byte {}",
            next.start, next.end, first.end
        ),
        "Give parameters and gradients disjoint ranges",
    )
}

impl Totals {
    /// Counts one more parameter. Refuses a model that no memory holds, before anything is sized by
    /// it.
    fn add(&mut self, spec: &ParamSpec) -> Result<(), Error> {
        self.elements = self.elements.saturating_add(spec.len);
        self.short += usize::from(spec.is_short());
        self.has_callers |= spec.places.is_some();
        if self.elements <= MAX_ELEMENTS {
            return Ok(());
        }
        let total = self.elements;
        Err(Error::parameter(
            &spec.name,
            format!("at most {MAX_ELEMENTS} elements in an optimizer"),
            format!("{total} elements up to and with this parameter's {}", spec.len),
            "Correct the length, or divide the model among devices",
        ))
    }
}

/// Two ranges that overlap, if there are any; gradients may overlap gradients if they are shared.
fn overlap(taken: &mut [Taken], shared_grads: bool) -> Option<(Taken, Taken)> {
    taken.sort_unstable_by_key(Taken::start);
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
    /// Whether it is so short that few threads update it, if there are many such.
    fn is_short(&self) -> bool {
        (1..=NARROW).contains(&self.len) && !self.class.formats.has_blocks()
    }

    /// What it takes of the caller's buffers, as the parameter of this index.
    fn takes(&self, param: usize) -> impl Iterator<Item = Taken> + '_ {
        let places = self.places.iter().flatten().filter(|_| self.len > 0).enumerate();
        places.map(move |(array, &Place { buffer, offset: start })| {
            let end = start + self.codec(array).bytes(self.len);
            Taken { buffer, start, end, param, array }
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
        let mut layout = Layout::in_buffers_of(buffer_blocks);
        layout.extend(specs.to_vec(), |buffer| sizes[buffer], 1)?;
        Ok(layout)
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
