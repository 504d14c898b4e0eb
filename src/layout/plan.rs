//! The layout, cut into dispatches that fit a device's limits.

use crate::layout::formats::WORD_BYTES;
use crate::layout::geometry::{
    BLOCK, ELEMENTS_PER_THREAD, MANY_NARROW, Sharing, Transport, blocks_per_workgroup,
};
use crate::layout::kernels::Class;
use crate::layout::limits::Limits;
use crate::layout::pages::Slot;
use crate::layout::placement::{BufferId, Layout, Span};
use crate::layout::words::words;
use crate::model::{Codec, Formats};

/// Consecutive elements of one parameter that one dispatch updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The parameter's index.
    pub param: usize,
    /// The index of its coefficient slot on its page.
    pub slot: u32,
    /// The index of the first element within the parameter.
    pub first: u64,
    /// How many there are.
    pub len: u64,
    /// The index of the first in the dispatch's parameter, gradient and state buffers.
    pub starts: [u64; 3],
}

impl Piece {
    /// Its number of blocks; the last may be part of one.
    pub fn blocks(&self) -> u64 {
        self.len.div_ceil(BLOCK)
    }

    /// The first `len` elements, and the rest.
    fn split(self, len: u64) -> (Self, Self) {
        let rest = Self {
            first: self.first + len,
            len: self.len - len,
            starts: self.starts.map(|start| start + len),
            ..self
        };
        (Self { len, ..self }, rest)
    }

    /// Whether all of it can be reached by whole vec4, in buffers that pad it (`owned`) or do not.
    fn fits_vec4(&self, owned: bool) -> bool {
        let aligned = self.starts.iter().all(|start| start.is_multiple_of(ELEMENTS_PER_THREAD));
        aligned && (owned || self.len.is_multiple_of(ELEMENTS_PER_THREAD))
    }

    /// Whether threads share words with others: where an array of 16-bit elements starts in the
    /// middle of a word. `halves` tells which of parameter and gradient have such.
    fn shares_words(&self, halves: [bool; 2]) -> bool {
        halves.iter().zip(self.starts).any(|(&halves, start)| halves && start % 2 == 1)
    }
}

/// Consecutive elements of a buffer, as they are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The buffer.
    pub buffer: BufferId,
    /// The index of the first element, such that a binding may start there.
    pub start: u64,
    /// The index after the last.
    pub end: u64,
}

impl Window {
    /// The smallest window that holds these elements.
    fn new(buffer: BufferId, [start, end]: [u64; 2], alignment: u64) -> Self {
        let start = start - start % alignment;
        // The optimizer's own buffers hold whole vec4, and may be read as such to the end.
        let owned_end = end.next_multiple_of(ELEMENTS_PER_THREAD);
        Self { buffer, start, end: if buffer.is_owned() { owned_end } else { end } }
    }

    /// The smallest window that holds both.
    fn union(self, other: Self) -> Self {
        let (start, end) = (self.start.min(other.start), self.end.max(other.end));
        Self { buffer: self.buffer, start, end }
    }

    /// The offset and the size in bytes for an array of this codec.
    pub fn bytes(&self, codec: Codec) -> [u64; 2] {
        let [start, end] = [self.start, self.end].map(|element| codec.bytes(element));
        [start, end.next_multiple_of(WORD_BYTES) - start]
    }

    /// Whether arrays of these codecs are in one buffer, and their windows overlap.
    fn overlaps(&self, codec: Codec, (other, other_codec): (&Self, Codec)) -> bool {
        let [start, size] = self.bytes(codec);
        let [other_start, other_size] = other.bytes(other_codec);
        let overlap = start < other_start + other_size && other_start < start + size;
        self.buffer == other.buffer && overlap
    }

    /// The window that starts and ends at these bytes, in elements of this codec. The start is one
    /// of a window's of any codec, and so a multiple of each one's element.
    fn of_bytes(buffer: BufferId, [start, end]: [u64; 2], codec: Codec) -> Self {
        let element = codec.bytes(1);
        Self { buffer, start: start / element, end: end.div_ceil(element) }
    }

    /// Whether no array is longer than this many bytes.
    fn fits(&self, codecs: &[Codec], most: u64) -> bool {
        codecs.iter().all(|&codec| self.bytes(codec)[1] <= most)
    }
}

/// What is bound where these are needed: parameters and gradients whose windows overlap have one.
fn bound([params, grads, states]: [Window; 3], formats: &Formats) -> [Window; 3] {
    let Formats { param, grad, .. } = *formats;
    if !params.overlaps(param, (&grads, grad)) {
        return [params, grads, states];
    }
    let ([start, size], [grad_start, grad_size]) = (params.bytes(param), grads.bytes(grad));
    let bytes = [start.min(grad_start), (start + size).max(grad_start + grad_size)];
    let [params, grads] = [param, grad].map(|codec| Window::of_bytes(params.buffer, bytes, codec));
    [params, grads, states]
}

/// One dispatch: windows of a parameter, a gradient and the state buffers, and the pieces in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The kernel's index.
    pub kernel: usize,
    /// The page of coefficients that it reads.
    pub page: usize,
    /// The class of its parameters.
    pub class: usize,
    /// How its arrays are stored.
    pub formats: Formats,
    /// How the elements are reached.
    pub transport: Transport,
    /// The windows bound: parameters, gradients, and the one that all states share.
    pub windows: [Window; 3],
    /// The pieces, each of whole blocks but for its last.
    pub pieces: Vec<Piece>,
    /// Whether all pieces are so short that few threads update a block.
    pub narrow: bool,
}

impl Dispatch {
    /// How parameters and gradients are in buffers.
    pub fn sharing(&self) -> Sharing {
        let [params, grads, _] = &self.windows;
        let Formats { param, grad, .. } = self.formats;
        match (params.buffer == grads.buffer, params.overlaps(param, (grads, grad))) {
            (false, _) => Sharing::Apart,
            (true, false) => Sharing::Ranges,
            (true, true) => Sharing::Mixed,
        }
    }

    /// Blocks in all.
    pub fn blocks(&self) -> u64 {
        self.pieces.iter().map(Piece::blocks).sum()
    }

    /// Workgroups in x and y, where so many threads share a block.
    pub fn grid(&self, threads: u64, limits: &Limits) -> [u32; 2] {
        limits.grid(self.blocks().div_ceil(blocks_per_workgroup(threads)))
    }

    /// The dispatch's pieces as the table's writers take them, where the table of its blocks starts
    /// at `first_row`. `sums` gives the place of a piece's first partial sum, and its tensor's
    /// index; `key` what its parameter's chances depend on.
    pub fn piece_words(
        &self,
        first_row: u32,
        sums: impl Fn(&Piece) -> [u32; 2],
        key: impl Fn(usize) -> u32,
    ) -> impl Iterator<Item = PieceWords> {
        let mut row = first_row;
        self.pieces.iter().map(move |piece| {
            // In range: a window has fewer than 2³² bytes, and elements.
            let [params, grads, states] =
                std::array::from_fn(|k| (piece.starts[k] - self.windows[k].start) as u32);
            let [partial, tensor] = sums(piece);
            let (first_row, len, slot) = (row, piece.len as u32, piece.slot);
            row += piece.blocks() as u32;
            let (first_block, key) = ((piece.first / BLOCK) as u32, key(piece.param));
            let row = first_row;
            PieceWords { row, len, params, grads, states, slot, partial, tensor, first_block, key }
        })
    }
}

words! {
    /// A piece as `shaders/passes/table.wgsl` reads it.
    pub struct PieceWords {
        /// The row of its first block.
        row: u32,
        /// Its number of elements.
        len: u32,
        /// Where its elements start, in elements of the dispatch's windows.
        params: u32,
        /// The same of its gradient.
        grads: u32,
        /// The same of its states.
        states: u32,
        /// The index of its coefficient slot.
        slot: u32,
        /// The place of its first block's partial sums.
        partial: u32,
        /// Its tensor's index.
        tensor: u32,
        /// The index of its first block within the parameter.
        first_block: u32,
        /// What the parameter's chances depend on.
        key: u32,
    }
}

/// Cuts a layout into dispatches. `slots` gives each parameter's coefficients; those without any
/// are left alone.
///
/// Parameters whose buffers and page are shared share a dispatch as long as its windows fit the
/// limits. Very short ones have dispatches of their own where there are many.
pub fn plan(layout: &Layout, slots: &[Option<Slot>], limits: &Limits) -> Vec<Dispatch> {
    let taking_part = slots.iter().enumerate().filter_map(|(param, slot)| Some((param, (*slot)?)));
    plan_of(layout, taking_part.collect(), limits)
}

/// The same for these parameters alone, each with its coefficients.
pub fn plan_of(layout: &Layout, mut order: Vec<(usize, Slot)>, limits: &Limits) -> Vec<Dispatch> {
    let mut planner = Planner { limits, dispatches: Vec::new(), open_blocks: 0, narrow: false };
    let is_short = |&(param, _): &(usize, Slot)| layout.is_short(param);
    let many = order.iter().filter(|of| is_short(of)).count() >= MANY_NARROW;
    let key = |of: &(usize, Slot)| {
        let (param, slot) = *of;
        (slot.kernel, slot.page, many && is_short(of), layout.place(param))
    };
    order.sort_by_key(key);
    for (param, slot) in order {
        planner.narrow = many && layout.is_short(param);
        let placement = &layout.params[param];
        let arrays = [&placement.params, &placement.grads, &placement.states];
        let class = layout.class(param);
        each_common_span(arrays.map(Vec::as_slice), |buffers, first, len, starts| {
            let piece = Piece { param, slot: slot.index, first, len, starts };
            planner.add((slot, class), buffers, piece);
        });
    }
    planner.finish()
}

/// Cuts three arrays' spans into stretches that are consecutive in all three, and passes on their
/// buffers, first element, length, and starts.
fn each_common_span(
    arrays: [&[Span]; 3],
    mut use_stretch: impl FnMut([BufferId; 3], u64, u64, [u64; 3]),
) {
    let mut index = [0; 3];
    let mut first = 0;
    while index.iter().zip(arrays).all(|(&i, spans)| i < spans.len()) {
        let spans: [Span; 3] = std::array::from_fn(|k| arrays[k][index[k]]);
        let end = spans.map(|span| span.first + span.len).into_iter().min().unwrap_or(first);
        let starts = spans.map(|span| span.start + (first - span.first));
        use_stretch(spans.map(|span| span.buffer), first, end - first, starts);
        for (i, span) in index.iter_mut().zip(spans) {
            *i += usize::from(span.first + span.len == end);
        }
        first = end;
    }
}

struct Planner<'a> {
    limits: &'a Limits,
    dispatches: Vec<Dispatch>,
    /// Blocks of the last dispatch.
    open_blocks: u64,
    /// Whether what is added goes to narrow dispatches.
    narrow: bool,
}

impl Planner<'_> {
    /// Adds a stretch of a parameter to the open dispatch, or to new ones where it does not fit.
    fn add(&mut self, of: (Slot, Class), buffers: [BufferId; 3], piece: Piece) {
        // Such that parameter and gradient fit one binding, should their windows overlap.
        let arrays = if buffers[0] == buffers[1] { 2 } else { 1 };
        let most = self.limits.piece_elements(&of.1.formats, arrays);
        let mut rest = piece;
        while rest.len > most {
            let (piece, remainder) = rest.split(most);
            self.add_piece(of, buffers, piece);
            rest = remainder;
        }
        self.add_piece(of, buffers, rest);
    }

    fn add_piece(&mut self, (slot, class): (Slot, Class), buffers: [BufferId; 3], piece: Piece) {
        let Class { index: class, formats } = class;
        let codecs = formats.of_windows();
        let windows: [Window; 3] = std::array::from_fn(|k| {
            let start = piece.starts[k];
            let alignment = self.limits.window_alignment(codecs[k]);
            Window::new(buffers[k], [start, start + piece.len], alignment)
        });
        if let Some(open) = self.dispatches.last_mut() {
            let same = (open.kernel, open.page, open.class) == (slot.kernel, slot.page, class)
                && open.narrow == self.narrow
                && open.windows.map(|w| w.buffer) == buffers;
            let union: [Window; 3] = std::array::from_fn(|k| open.windows[k].union(windows[k]));
            let most = self.limits.binding();
            let bound = bound(union, &formats);
            let fits = bound.iter().zip(codecs).all(|(window, codecs)| window.fits(codecs, most))
                && self.open_blocks + piece.blocks() <= self.limits.grid_blocks();
            if same && fits {
                open.windows = union;
                open.pieces.push(piece);
                self.open_blocks += piece.blocks();
                return;
            }
        }
        self.open_blocks = piece.blocks();
        // `finish` sets the transport, which depends on all pieces.
        let (transport, narrow) = (Transport::Scalar, self.narrow);
        let Slot { kernel, page, .. } = slot;
        let pieces = vec![piece];
        self.dispatches.push(Dispatch {
            kernel,
            page,
            class,
            formats,
            transport,
            windows,
            pieces,
            narrow,
        });
    }

    /// Chooses each dispatch's transport, and joins windows that overlap.
    fn finish(mut self) -> Vec<Dispatch> {
        for dispatch in &mut self.dispatches {
            dispatch.windows = bound(dispatch.windows, &dispatch.formats);
            let owned = dispatch.windows.iter().all(|window| window.buffer.is_owned());
            let fits_vec4 = dispatch.pieces.iter().all(|piece| piece.fits_vec4(owned));
            let halves = [dispatch.formats.param, dispatch.formats.grad].map(Codec::is_half);
            if fits_vec4 && dispatch.sharing().has_transport(Transport::Vec4, halves) {
                dispatch.transport = Transport::Vec4;
            } else if dispatch.pieces.iter().any(|piece| piece.shares_words(halves)) {
                dispatch.transport = Transport::Shared;
            }
        }
        self.dispatches
    }
}
