//! Where an engine keeps its parameters and gradients, as callers tell it.

use crate::error::Error;
use crate::gpu::guard::check_usage;
use crate::gpu::probe::Probe;
use crate::model::{Formats, Param};

/// A range of one of your buffers: a buffer (from its start on), a buffer and an offset in bytes,
/// or a [`wgpu::BufferSlice`] make one. It must hold at least the parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub(super) buffer: wgpu::Buffer,
    /// In bytes: a multiple of 4, or of 2 for elements of 16 bits. Multiples of 16 are faster.
    pub(super) offset: u64,
    /// In bytes; `None` to the buffer's end.
    pub(super) size: Option<u64>,
}

impl From<&wgpu::Buffer> for Slice {
    fn from(buffer: &wgpu::Buffer) -> Self {
        (buffer, 0).into()
    }
}

impl From<(&wgpu::Buffer, u64)> for Slice {
    fn from((buffer, offset): (&wgpu::Buffer, u64)) -> Self {
        Self { buffer: buffer.clone(), offset, size: None }
    }
}

impl From<wgpu::BufferSlice<'_>> for Slice {
    fn from(slice: wgpu::BufferSlice<'_>) -> Self {
        let (offset, size) = (slice.offset(), Some(slice.size()));
        Self { buffer: slice.buffer().clone(), offset, size }
    }
}

/// Where a parameter and its gradient are. They may share a buffer, and the buffers may hold other
/// things too: nothing outside a parameter's own elements is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) slices: [Slice; 2],
}

impl Place {
    /// A parameter and its gradient, in buffers with the usage `STORAGE`.
    pub fn new(param: impl Into<Slice>, grad: impl Into<Slice>) -> Self {
        Self { slices: [param.into(), grad.into()] }
    }

    /// Refuses buffers without `STORAGE`, slices that are too short for so many elements, and, of
    /// those buffers that are new, those that cannot be bound.
    pub(super) fn check(
        &self,
        name: &str,
        (elements, formats): (usize, &Formats),
        probe: &mut Probe,
    ) -> Result<(), Error> {
        let arrays = [("parameter", formats.param), ("gradient", formats.grad)];
        for (slice, (array, codec)) in self.slices.iter().zip(arrays) {
            check_usage(name, &slice.buffer, wgpu::BufferUsages::STORAGE)?;
            probe.check_new(name, &slice.buffer)?;
            let needed = codec.bytes(elements as u64);
            if let Some(size) = slice.size.filter(|&size| size < needed) {
                return Err(Error::parameter(
                    name,
                    format!("a slice of at least {needed} bytes for the {array}"),
                    format!("{size} bytes"),
                    "Pass the slice that holds the whole tensor, or correct its shape",
                ));
            }
        }
        Ok(())
    }
}

impl Param<Place> {
    /// Keeps parameter and gradient in buffers of your own, which need the usage `STORAGE`: whole
    /// buffers, `(&buffer, offset)` with an offset in bytes that is a multiple of 4, or of 2 for
    /// elements of 16 bits (multiples of 16 are faster), or slices. They may be in one and the same
    /// buffer, and it may hold other things too; nothing outside the parameter's own elements is
    /// written.
    #[must_use]
    pub fn buffers(mut self, param: impl Into<Slice>, grad: impl Into<Slice>) -> Self {
        self.place = Some(Place::new(param, grad));
        self
    }
}
