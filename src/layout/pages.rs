//! Where coefficients are in what a step uploads: the verdict first, then pages of coefficient
//! slots. A page is what one dispatch binds as a uniform; a slot is what the parameters of one step
//! count share.

use crate::error::Error;
use crate::layout::geometry::UNIFORM_ALIGNMENT;
use crate::layout::kernels::Kernels;
use crate::layout::limits::{Limits, need};
use crate::model::Model;
use crate::rule::{Around, DynRule, Fields};

/// Bytes of the verdict at the head of an upload.
pub(crate) const VERDICT_BYTES: u64 = 16;

/// Where the coefficients of a step count are: a kernel, one of its pages, and a slot of that page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The kernel's index.
    pub kernel: usize,
    /// The page's index among the kernel's.
    pub page: usize,
    /// The slot's index on the page.
    pub index: u32,
}

/// How many slots a kernel's pages have room for. It is a constant of the kernel, and there are
/// two, so that both can be compiled ahead: parameters that part from a count's others never need a
/// third.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slots {
    /// One, whose index is then known to every thread.
    One,
    /// As many as the device binds.
    Many,
}

impl Slots {
    /// Both.
    pub const ALL: [Self; 2] = [Self::One, Self::Many];

    /// Their number in a page of this rule's.
    pub(crate) fn count(self, rule: &dyn DynRule, limits: &Limits) -> u64 {
        match self {
            Self::One => 1,
            Self::Many => (limits.page() / slot_bytes(rule)).max(1),
        }
    }
}

/// Coefficients to compute: a step count's, and the word of the upload where they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub count: usize,
    pub word: u32,
}

/// All pages of an optimizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    /// Each step count's slot; `None` if the next step leaves its parameters alone.
    pub of_count: Vec<Option<Slot>>,
    /// The step counts with a slot, and where it starts.
    pub targets: Vec<Target>,
    /// Of each kernel.
    pub kernels: Vec<KernelPages>,
    /// Bytes that a step writes.
    pub written: u64,
    /// Bytes that it must have room for, so that each page can be bound whole.
    pub bytes: u64,
}

/// The pages of one kernel, which follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelPages {
    pub slots: Slots,
    /// The first page's offset, from one page to the next, and what of it is bound, in bytes. A
    /// page's unused slots may reach over the pages after it.
    pub offset: u64,
    pub stride: u64,
    pub size: u64,
    /// How many there are.
    pub count: usize,
}

/// Bytes of one slot: f32 each, what happens around every rule, the rule's own and those of
/// modifiers, each padded.
pub(crate) fn slot_bytes(rule: &dyn DynRule) -> u64 {
    let padded = |count: usize| (4 * count as u64).next_multiple_of(UNIFORM_ALIGNMENT);
    padded(Around::<f64>::NAMES.len())
        + padded(rule.coeff_names().len())
        + padded(rule.modifier_coeffs().len())
}

/// Refuses a device whose uniform bindings are too small for a rule's coefficients.
pub(crate) fn check_slot(rule: &dyn DynRule, limits: &Limits) -> Result<(), Error> {
    let found = limits.max_uniform_buffer_binding_size;
    let reason = format!("a page of {} holds at least one group's coefficients", rule.name());
    need("max_uniform_buffer_binding_size", found, slot_bytes(rule), reason)
}

impl Pages {
    pub fn new(model: &Model, kernels: &Kernels, limits: &Limits) -> Self {
        let mut pages = Self {
            of_count: vec![None; model.counts.len()],
            written: VERDICT_BYTES,
            bytes: VERDICT_BYTES,
            ..Self::default()
        };
        let mut reserved = VERDICT_BYTES;
        for kernel in 0..kernels.len() {
            let takes_part = |&count: &usize| {
                let count = &model.counts[count];
                count.takes_part() && kernels.of(count.group) == kernel
            };
            let counts: Vec<_> = (0..model.counts.len()).filter(takes_part).collect();
            let rule = kernels.rule(model, kernel);
            reserved = pages.add(kernel, rule, &counts, limits, reserved);
        }
        pages
    }

    /// Adds a kernel's pages, for these step counts, from a byte on; the byte where they end. Room
    /// is reserved by powers of two, so that a page seldom moves.
    fn add(
        &mut self,
        kernel: usize,
        rule: &dyn DynRule,
        counts: &[usize],
        limits: &Limits,
        reserved: u64,
    ) -> u64 {
        let alignment = limits.min_uniform_buffer_offset_alignment;
        let slot_bytes = slot_bytes(rule);
        let slots = if counts.len() <= 1 { Slots::One } else { Slots::Many };
        let room = slots.count(rule, limits) as usize;
        let size = room as u64 * slot_bytes;
        let used = counts.len().next_power_of_two().min(room) as u64 * slot_bytes;
        let stride = used.next_multiple_of(alignment);
        let offset = reserved.next_multiple_of(alignment);
        for (index, &count) in counts.iter().enumerate() {
            let (page, index) = (index / room, index % room);
            let start = offset + page as u64 * stride + index as u64 * slot_bytes;
            self.of_count[count] = Some(Slot { kernel, page, index: index as u32 });
            self.targets.push(Target { count, word: (start / 4) as u32 });
            self.written = start + slot_bytes;
        }
        let count = counts.len().div_ceil(room);
        let last = offset + (count as u64).saturating_sub(1) * stride;
        self.bytes = self.bytes.max(last + size);
        self.kernels.push(KernelPages { slots, offset, stride, size, count });
        last + used
    }

    /// Whether these pages are where those are, whichever step counts have their slots.
    pub fn same_shape(&self, other: &Self) -> bool {
        (&self.kernels, self.bytes) == (&other.kernels, other.bytes)
    }

    /// The number of the pages before a kernel's, in the order of their offsets.
    pub fn first_page(&self, kernel: usize) -> usize {
        self.kernels[..kernel].iter().map(|kernel| kernel.count).sum()
    }

    /// Every page's offset and size.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let pages = |kernel: &KernelPages| {
            let KernelPages { offset, stride, size, count, .. } = *kernel;
            (0..count as u64).map(move |page| (offset + page * stride, size))
        };
        self.kernels.iter().flat_map(pages)
    }
}
