//! Spans of buffers, and how arrays are packed into those of the optimizer's own: block by block,
//! with room to grow.

use crate::layout::geometry::BLOCK;

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

/// How much of a buffer of the optimizer's own is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    /// Blocks from the start on.
    blocks: u64,
    /// Whether it came after the optimizer was built, with room for what comes later.
    has_grown: bool,
}

/// Hands out whole blocks: what is left of the latest buffer, then of as few new ones as a size
/// limit allows.
#[derive(Debug)]
pub(crate) struct Packer {
    /// The most blocks of a buffer.
    capacity: u64,
    /// Whether new buffers get room for what comes later.
    grows: bool,
    /// Blocks of the buffers that came with growth so far.
    grown: u64,
    /// The index of the next buffer.
    next: usize,
    /// Buffers that are handed out from: the latest of before, and new ones.
    open: Vec<Open>,
}

/// A buffer that blocks are handed out from.
#[derive(Debug, Clone, Copy)]
struct Open {
    index: usize,
    blocks: u64,
    taken: u64,
    is_new: bool,
}

impl Packer {
    /// Goes on from these buffers: of each its index, its elements and what of it is taken. `next`
    /// is the index of the next buffer.
    pub fn new(
        (capacity, grows): (u64, bool),
        next: usize,
        existing: impl Iterator<Item = (usize, (u64, Use))>,
    ) -> Self {
        let mut packer = Self { capacity, grows, grown: 0, next, open: Vec::new() };
        for (index, (size, Use { blocks: taken, has_grown })) in existing {
            let blocks = size / BLOCK;
            packer.grown += if has_grown { blocks } else { 0 };
            packer.open = vec![Open { index, blocks, taken, is_new: false }];
        }
        packer
    }

    /// Places an array. It is split only if no single buffer can hold it.
    pub fn pack(&mut self, len: u64, buffer: impl Fn(usize) -> BufferId) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut first = 0;
        while first < len {
            let wanted = (len - first).div_ceil(BLOCK);
            let open = self.open.last_mut();
            let room = open.as_ref().map_or(0, |open| open.blocks - open.taken);
            let Some(open) =
                open.filter(|_| room > 0 && (wanted <= room || wanted > self.capacity))
            else {
                let (index, blocks) = (self.next, self.capacity);
                self.open.push(Open { index, blocks, taken: 0, is_new: true });
                self.next += 1;
                continue;
            };
            let taken = wanted.min(room);
            let span_len = (taken * BLOCK).min(len - first);
            let start = open.taken * BLOCK;
            spans.push(Span { buffer: buffer(open.index), start, first, len: span_len });
            open.taken += taken;
            first += span_len;
        }
        spans
    }

    /// Tells what is taken now, and the elements of each new buffer. The latest has room for as
    /// much as was ever added, so that many small additions make few buffers; what the optimizer is
    /// built with has none.
    pub fn finish(self, uses: &mut Vec<Use>, mut add: impl FnMut(u64)) {
        let Self { capacity, grows, mut grown, open, .. } = self;
        let latest = open.len().saturating_sub(1);
        for (at, open) in open.into_iter().enumerate() {
            let of = Use { blocks: open.taken, has_grown: grows };
            if !open.is_new {
                uses[open.index].blocks = open.taken;
                continue;
            }
            let room = if grows && at == latest { grown.min(capacity) } else { 0 };
            let blocks = open.taken.max(room);
            grown += blocks;
            uses.push(of);
            add(blocks * BLOCK);
        }
    }
}
