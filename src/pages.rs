//! Where coefficients lie: a page is what one dispatch binds as a uniform, an entry what the parameters
//! of one clock share. Plain data.

use crate::groups::Groups;
use crate::kernels::Kernels;
use crate::plan::Entry;
use crate::request::Target;
use crate::shader::group_stride;

/// All pages of an optimizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    /// Each clock's entry; `None` if the next step leaves its parameters alone.
    pub of_clock: Vec<Option<Entry>>,
    /// The clocks with an entry, and where it starts.
    pub targets: Vec<Target>,
    /// Of each kernel.
    pub kernels: Vec<KernelPages>,
    /// Bytes of all pages.
    pub bytes: u64,
}

/// The pages of one kernel, which are of one size and follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelPages {
    /// How many entries a page has room for: a constant of the kernel, and therefore a power of two, that it
    /// seldom changes, or as many as fit.
    pub entries: usize,
    /// The first page's offset, from one page to the next, and what of it is bound, in bytes.
    pub offset: u64,
    pub stride: u64,
    pub size: u64,
    /// How many there are.
    pub count: usize,
}

impl Pages {
    /// `max_size` is the most that can be bound, `alignment` that of a binding.
    pub fn new(groups: &Groups, kernels: &Kernels, max_size: u64, alignment: u64) -> Self {
        let mut pages = Self { of_clock: vec![None; groups.clocks.len()], ..Self::default() };
        for kernel in 0..kernels.len() {
            let takes_part = |&clock: &usize| {
                let clock = &groups.clocks[clock];
                clock.takes_part() && kernels.of(clock.group) == kernel
            };
            let clocks: Vec<_> = (0..groups.clocks.len()).filter(takes_part).collect();
            let entry_bytes = group_stride(kernels.rule(groups, kernel));
            let room = (max_size / entry_bytes).max(1) as usize;
            let entries = clocks.len().next_power_of_two().min(room);
            let size = entries as u64 * entry_bytes;
            let stride = size.next_multiple_of(alignment);
            let offset = pages.bytes;
            let count = clocks.len().div_ceil(entries);
            pages.bytes += count as u64 * stride;
            for (index, clock) in clocks.into_iter().enumerate() {
                let (page, index) = (index / entries, index % entries);
                let start = offset + page as u64 * stride + index as u64 * entry_bytes;
                pages.of_clock[clock] = Some(Entry { kernel, page, index: index as u32 });
                pages.targets.push(Target { clock, word: (start / 4) as u32 });
            }
            pages.kernels.push(KernelPages { entries, offset, stride, size, count });
        }
        pages
    }

    /// Whether these pages lie where those do, whichever clocks have their entries.
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
