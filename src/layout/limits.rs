//! The limits of a device that shape a plan, and how too low a one is refused.

use crate::error::Error;
use crate::layout::geometry::{
    BLOCK, BLOCKS_PER_WORKGROUP, ELEMENT_BYTES, UNIFORM_ALIGNMENT, WORKGROUP_SIZE,
};
use crate::model::{Codec, Formats};

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
    pub max_uniform_buffer_binding_size: u64,
    pub max_buffer_size: u64,
    pub max_compute_workgroups_per_dimension: u64,
    pub max_compute_invocations_per_workgroup: u64,
    pub max_compute_workgroup_size_x: u64,
    pub max_storage_buffers_per_shader_stage: u64,
    pub min_storage_buffer_offset_alignment: u64,
    pub min_uniform_buffer_offset_alignment: u64,
}

/// Bytes of a block of an f32 array.
const BLOCK_BYTES: u64 = BLOCK * ELEMENT_BYTES;

/// Uploads that a buffer of them has room for at least.
const UPLOADS: u64 = 64;

/// Kernels count a binding's elements, and some backends its bytes, in 32 bits.
const MAX_BINDING: u64 = (1 << 32) - BLOCK_BYTES;

impl Limits {
    /// Refuses a device on which no step can run.
    ///
    /// # Errors
    /// A limit that is too low.
    pub fn check(&self) -> Result<(), Error> {
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
        // An unaligned block needs room for what is between the binding's start and its own.
        need(
            "max_storage_buffer_binding_size",
            self.max_storage_buffer_binding_size,
            BLOCK_BYTES + self.min_storage_buffer_offset_alignment,
            "a binding holds at least one block of 256 elements at any offset".into(),
        )?;
        let reason = "a buffer holds at least one block of 256 elements".into();
        need("max_buffer_size", self.max_buffer_size, BLOCK_BYTES, reason)?;
        let reason = "a uniform binding holds the coefficients of a group".into();
        let found = self.max_uniform_buffer_binding_size;
        need("max_uniform_buffer_binding_size", found, UNIFORM_ALIGNMENT, reason)
    }

    /// The most bytes that one storage binding has.
    pub fn binding(&self) -> u64 {
        self.max_storage_buffer_binding_size.min(MAX_BINDING)
    }

    /// The most bytes of a buffer that is bound whole.
    pub fn bound_buffer(&self) -> u64 {
        self.binding().min(self.max_buffer_size)
    }

    /// The most bytes of a page of coefficients. A buffer of uploads has many pages.
    pub fn page(&self) -> u64 {
        self.max_uniform_buffer_binding_size.min(self.max_buffer_size / UPLOADS)
    }

    /// A grid of at least so many workgroups, of rows as long as the device allows.
    pub fn grid(&self, workgroups: u64) -> [u32; 2] {
        let row = workgroups.clamp(1, self.max_compute_workgroups_per_dimension);
        [row as u32, workgroups.div_ceil(row) as u32]
    }

    /// The most blocks that one dispatch's grid reaches.
    pub fn grid_blocks(&self) -> u64 {
        let side = self.max_compute_workgroups_per_dimension;
        side.saturating_mul(side).saturating_mul(BLOCKS_PER_WORKGROUP)
    }

    /// The most elements that fit a dispatch whatever their offset, in whole blocks. So many
    /// arrays may have to be in one binding.
    pub fn piece_elements(&self, formats: &Formats, arrays: u64) -> u64 {
        let blocks = |codecs: &&[Codec]| {
            let bytes = (self.binding() / arrays).saturating_sub(self.slack(codecs));
            bytes / widest(codecs, BLOCK)
        };
        let blocks =
            formats.of_windows().iter().filter(|codecs| !codecs.is_empty()).map(blocks).min();
        blocks.unwrap_or(1).min(self.grid_blocks()).max(1) * BLOCK
    }

    /// The most bytes between the start of a binding and that of the elements it is for.
    fn slack(&self, codecs: &[Codec]) -> u64 {
        widest(codecs, self.window_alignment(codecs))
    }

    /// A multiple of elements at which windows of all these arrays may start.
    pub fn window_alignment(&self, codecs: &[Codec]) -> u64 {
        let alignment = self.min_storage_buffer_offset_alignment;
        // All are powers of two.
        codecs.iter().map(|codec| codec.elements_aligned(alignment)).max().unwrap_or(1)
    }

    /// Refuses a device whose bindings are too small for a block of these arrays at any place.
    ///
    /// # Errors
    /// It is.
    pub fn check_formats(&self, formats: &Formats) -> Result<(), Error> {
        for codecs in formats.of_windows().into_iter().filter(|codecs| !codecs.is_empty()) {
            let needed = self.slack(codecs) + widest(codecs, BLOCK);
            let reason = "a binding holds at least one block of 256 elements, at any place".into();
            need("max_storage_buffer_binding_size", self.binding(), needed, reason)?;
        }
        Ok(())
    }

    /// Blocks of f32 elements that a buffer of the optimizer's own holds.
    pub fn buffer_blocks(&self) -> u64 {
        (self.max_buffer_size / BLOCK_BYTES).max(1)
    }
}

/// The most bytes that so many elements take in one of these arrays.
pub(crate) fn widest(codecs: &[Codec], elements: u64) -> u64 {
    codecs.iter().map(|codec| codec.bytes(elements)).max().unwrap_or(0)
}
