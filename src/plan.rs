//! The layout, cut into dispatches that fit a device's limits: plain data, testable without a GPU.

use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::format::{Access, BLOCK, ELEMENT_BYTES, ELEMENTS_PER_THREAD};
use crate::layout::{BLOCK_BYTES, BufferId, Layout, Run};
use crate::shader::{
    BLOCKS_PER_WORKGROUP, DECISION_STORAGE_BUFFERS, WORKGROUP_SIZE, storage_buffers,
};

/// Bytes of a vec4.
const VEC4_BYTES: u64 = ELEMENTS_PER_THREAD * ELEMENT_BYTES;

/// Refuses a limit that is lower than needed.
pub(crate) fn need(
    limit: &'static str,
    found: u64,
    needed: u64,
    reason: String,
) -> Result<(), Error> {
    if found >= needed {
        return Ok(());
    }
    let remedy = "Request the device with a larger limit, as far as the adapter has it".into();
    Err(Error::Limit { limit, needed, found, reason, remedy })
}

/// The limits of a device that shape a plan, by wgpu's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are wgpu's")]
pub struct Limits {
    pub max_storage_buffer_binding_size: u64,
    pub max_buffer_size: u64,
    pub max_compute_workgroups_per_dimension: u64,
    pub max_compute_invocations_per_workgroup: u64,
    pub max_compute_workgroup_size_x: u64,
    pub max_storage_buffers_per_shader_stage: u64,
    pub min_storage_buffer_offset_alignment: u64,
}

impl Limits {
    /// Refuses a device on which a rule cannot run, with statistics of its changes if it `watches`.
    ///
    /// # Errors
    /// A limit that is too low.
    pub fn check(&self, rule: &dyn DynRule, watches: bool) -> Result<(), Error> {
        need(
            "max_storage_buffers_per_shader_stage",
            self.max_storage_buffers_per_shader_stage,
            storage_buffers(rule, watches).into(),
            format!("{} binds tables, parameters, gradients and every state", rule.name()),
        )?;
        let workgroup = || format!("a workgroup has {WORKGROUP_SIZE} threads");
        need(
            "max_compute_invocations_per_workgroup",
            self.max_compute_invocations_per_workgroup,
            WORKGROUP_SIZE,
            workgroup(),
        )?;
        need(
            "max_compute_workgroup_size_x",
            self.max_compute_workgroup_size_x,
            WORKGROUP_SIZE,
            workgroup(),
        )?;
        need(
            "max_compute_workgroups_per_dimension",
            self.max_compute_workgroups_per_dimension,
            1,
            "a step dispatches workgroups".into(),
        )?;
        // An unaligned block needs room for what lies between the binding's start and its own.
        let block = BLOCK_BYTES + self.min_storage_buffer_offset_alignment;
        need(
            "max_storage_buffer_binding_size",
            self.max_storage_buffer_binding_size,
            block,
            "a binding holds at least one block of 256 elements at any offset".into(),
        )?;
        let remedy = "a buffer holds at least one block of 256 elements".into();
        need("max_buffer_size", self.max_buffer_size, BLOCK_BYTES, remedy)
    }

    /// Refuses a device on which the GPU cannot decide on steps.
    ///
    /// # Errors
    /// A limit that is too low.
    pub fn check_decision(&self) -> Result<(), Error> {
        need(
            "max_storage_buffers_per_shader_stage",
            self.max_storage_buffers_per_shader_stage,
            DECISION_STORAGE_BUFFERS,
            "deciding on a step binds measures, the scale, a report, counts, coefficients and a request"
                .into(),
        )
    }

    /// A grid of at least so many workgroups, of rows as long as the device allows.
    pub fn grid(&self, workgroups: u64) -> [u32; 2] {
        let row = workgroups.clamp(1, self.max_compute_workgroups_per_dimension);
        [row as u32, workgroups.div_ceil(row) as u32]
    }

    /// The most blocks that one dispatch's grid reaches.
    fn grid_blocks(&self) -> u64 {
        let side = self.max_compute_workgroups_per_dimension;
        side.saturating_mul(side).saturating_mul(BLOCKS_PER_WORKGROUP)
    }

    /// The most elements that fit a dispatch whatever their offset, in whole blocks.
    fn piece_elements(&self) -> u64 {
        let bytes = self.max_storage_buffer_binding_size - self.min_storage_buffer_offset_alignment;
        (bytes / BLOCK_BYTES).min(self.grid_blocks()).max(1) * BLOCK
    }
}

/// Consecutive elements of one parameter that one dispatch updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The parameter's index.
    pub param: usize,
    /// The index of its coefficients on its page.
    pub entry: u32,
    /// The index of the first element within the parameter.
    pub first: u64,
    /// How many there are.
    pub len: u64,
    /// Where they lie in the dispatch's parameter, gradient and state buffers, in bytes.
    pub offsets: [u64; 3],
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
            offsets: self.offsets.map(|offset| offset + len * ELEMENT_BYTES),
            ..self
        };
        (Self { len, ..self }, rest)
    }

    /// Whether all of it can be reached by whole vec4, in buffers that pad it (`owned`) or do not.
    fn fits_vec4(&self, owned: bool) -> bool {
        let aligned = self.offsets.iter().all(|offset| offset.is_multiple_of(VEC4_BYTES));
        aligned && (owned || self.len.is_multiple_of(ELEMENTS_PER_THREAD))
    }
}

/// A range of a buffer, as it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The buffer.
    pub buffer: BufferId,
    /// The start in bytes, aligned as bindings must be.
    pub offset: u64,
    /// The size in bytes.
    pub size: u64,
}

impl Window {
    /// The smallest window from the given byte on that ends at the other.
    fn new(buffer: BufferId, start: u64, end: u64, alignment: u64) -> Self {
        let offset = start - start % alignment;
        // The optimizer's own buffers hold whole vec4, and may be read as such to the end.
        let end = if buffer.is_owned() { end.next_multiple_of(VEC4_BYTES) } else { end };
        Self { buffer, offset, size: end - offset }
    }

    /// The smallest window that holds both.
    fn union(self, other: Self) -> Self {
        let offset = self.offset.min(other.offset);
        let end = (self.offset + self.size).max(other.offset + other.size);
        Self { buffer: self.buffer, offset, size: end - offset }
    }
}

/// One dispatch: windows of a parameter, a gradient and the state buffers, and the pieces in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The kernel's index.
    pub kernel: usize,
    /// The page of coefficients that it reads.
    pub page: usize,
    /// How the elements are reached.
    pub access: Access,
    /// The windows bound: parameters, gradients, and the one that all states share.
    pub windows: [Window; 3],
    /// The pieces, each of whole blocks but for its last.
    pub pieces: Vec<Piece>,
    /// Workgroups in x and y.
    pub grid: [u32; 2],
}

impl Dispatch {
    /// Whether parameters and gradients lie in one buffer.
    pub fn shared(&self) -> bool {
        self.windows[0].buffer == self.windows[1].buffer
    }

    /// Blocks in all.
    pub fn blocks(&self) -> u64 {
        self.pieces.iter().map(Piece::blocks).sum()
    }

    /// The dispatch's pieces as `shaders/driver/rows.wgsl` reads them, where the table of its blocks starts at
    /// `first_row`. `sums` gives the place of a piece's first partial sum, and its tensor's index.
    pub fn piece_words(&self, first_row: u32, sums: impl Fn(&Piece) -> [u32; 2]) -> Vec<[u32; 8]> {
        let mut row = first_row;
        let mut words = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            // In range: a window has fewer than 2³² bytes.
            let [params, grads, states] = std::array::from_fn(|k| {
                ((piece.offsets[k] - self.windows[k].offset) / ELEMENT_BYTES) as u32
            });
            let [partial, tensor] = sums(piece);
            let len = piece.len as u32;
            words.push([row, len, params, grads, states, piece.entry, partial, tensor]);
            row += piece.blocks() as u32;
        }
        words
    }
}

/// Where a parameter's coefficients are: a kernel, one of its pages, and an entry of that page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The kernel's index.
    pub kernel: usize,
    /// The page's index among the kernel's.
    pub page: usize,
    /// The entry's index on the page.
    pub index: u32,
}

/// Cuts a layout into dispatches. `entries` gives each parameter's coefficients; those without any are
/// left alone.
///
/// Parameters whose buffers and page are shared share a dispatch as long as its windows fit the limits.
pub fn plan(layout: &Layout, entries: &[Option<Entry>], limits: &Limits) -> Vec<Dispatch> {
    let mut planner = Planner { limits, dispatches: Vec::new(), open_blocks: 0 };
    let taking_part =
        entries.iter().enumerate().filter_map(|(param, entry)| Some((param, (*entry)?)));
    let mut order: Vec<_> = taking_part.collect();
    order.sort_by_key(|&(param, entry)| (entry.kernel, entry.page, layout.place(param)));
    for (param, entry) in order {
        let segment = &layout.segments[param];
        let arrays = [&segment.params, &segment.grads, &segment.states];
        each_common_run(arrays.map(Vec::as_slice), |buffers, first, len, offsets| {
            planner.add(entry, buffers, Piece { param, entry: entry.index, first, len, offsets });
        });
    }
    planner.finish()
}

/// Cuts three arrays' runs into stretches that are consecutive in all three, and hands out their buffers, first
/// element, length, and offsets.
fn each_common_run(
    arrays: [&[Run]; 3],
    mut use_run: impl FnMut([BufferId; 3], u64, u64, [u64; 3]),
) {
    let mut index = [0; 3];
    let mut first = 0;
    while index.iter().zip(arrays).all(|(&i, runs)| i < runs.len()) {
        let runs: [Run; 3] = std::array::from_fn(|k| arrays[k][index[k]]);
        let end = runs.map(|run| run.first + run.len).into_iter().min().unwrap_or(first);
        let offsets = runs.map(|run| run.offset + (first - run.first) * ELEMENT_BYTES);
        use_run(runs.map(|run| run.buffer), first, end - first, offsets);
        for (i, run) in index.iter_mut().zip(runs) {
            *i += usize::from(run.first + run.len == end);
        }
        first = end;
    }
}

struct Planner<'a> {
    limits: &'a Limits,
    dispatches: Vec<Dispatch>,
    /// Blocks of the last dispatch.
    open_blocks: u64,
}

impl Planner<'_> {
    /// Adds a stretch of a parameter to the open dispatch, or to new ones where it does not fit.
    fn add(&mut self, entry: Entry, buffers: [BufferId; 3], piece: Piece) {
        let most = self.limits.piece_elements();
        let mut rest = piece;
        while rest.len > most {
            let (piece, remainder) = rest.split(most);
            self.add_piece(entry, buffers, piece);
            rest = remainder;
        }
        self.add_piece(entry, buffers, rest);
    }

    fn add_piece(&mut self, entry: Entry, buffers: [BufferId; 3], piece: Piece) {
        let alignment = self.limits.min_storage_buffer_offset_alignment;
        let bytes = piece.len * ELEMENT_BYTES;
        let windows = std::array::from_fn(|k| {
            let start = piece.offsets[k];
            Window::new(buffers[k], start, start + bytes, alignment)
        });
        if let Some(open) = self.dispatches.last_mut() {
            let same = (open.kernel, open.page) == (entry.kernel, entry.page)
                && open.windows.map(|w| w.buffer) == buffers;
            let union: [Window; 3] = std::array::from_fn(|k| open.windows[k].union(windows[k]));
            let fits = union.iter().all(|w| w.size <= self.limits.max_storage_buffer_binding_size)
                && self.open_blocks + piece.blocks() <= self.limits.grid_blocks();
            if same && fits {
                open.windows = union;
                open.pieces.push(piece);
                self.open_blocks += piece.blocks();
                return;
            }
        }
        self.open_blocks = piece.blocks();
        // `finish` sets access and grid, which depend on all pieces.
        let (access, grid) = (Access::Scalar, [0, 0]);
        let Entry { kernel, page, .. } = entry;
        let pieces = vec![piece];
        self.dispatches.push(Dispatch { kernel, page, access, windows, pieces, grid });
    }

    /// Chooses each dispatch's access and grid.
    fn finish(mut self) -> Vec<Dispatch> {
        for dispatch in &mut self.dispatches {
            let owned = dispatch.windows.iter().all(|window| window.buffer.is_owned());
            if dispatch.pieces.iter().all(|piece| piece.fits_vec4(owned)) {
                dispatch.access = Access::Vec4;
            }
            let workgroups = dispatch.blocks().div_ceil(BLOCKS_PER_WORKGROUP);
            dispatch.grid = self.limits.grid(workgroups);
        }
        self.dispatches
    }
}
