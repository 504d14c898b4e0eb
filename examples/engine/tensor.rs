//! Tensors: ranges of the engine's GPU buffers.

use std::num::NonZeroU64;
use wgpu_optim::Param;

/// A tensor of 32-bit elements in a buffer, alone or beside others.
pub struct Tensor {
    pub buffer: wgpu::Buffer,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How many elements it has.
    pub len: usize,
}

impl Tensor {
    /// A tensor with a buffer of its own, all 0.
    pub fn new(device: &wgpu::Device, label: &str, len: usize) -> Self {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: len as u64 * 4,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { buffer, offset: 0, len }
    }

    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: NonZeroU64::new(self.len as u64 * 4),
        })
    }
}

/// A trained tensor and its gradient.
pub struct Parameter {
    pub name: String,
    pub value: Tensor,
    pub gradient: Tensor,
}

/// All that the optimizer has to be told of a parameter: its name, its length, and where the engine
/// keeps it and its gradient. Nothing is copied.
impl From<&Parameter> for Param {
    fn from(Parameter { name, value, gradient }: &Parameter) -> Self {
        Param::new(name, value.len)
            .buffers(&value.buffer, &gradient.buffer)
            .offsets(value.offset, gradient.offset)
    }
}

/// The one buffer that holds all parameters and all gradients.
///
/// A buffer for each tensor would do as well; the pool shows that the optimizer takes tensors from
/// wherever an engine has them. It works for the engine's kernels because none of them reads
/// parameters and writes gradients at once; the optimizer, which does the reverse, copes with that.
pub struct Pool {
    buffer: wgpu::Buffer,
    alignment: u64,
    used: u64,
}

impl Pool {
    /// A pool with room for the parameters of these lengths and their gradients.
    pub fn new(device: &wgpu::Device, parameters: &[usize]) -> Self {
        // The engine's kernels can bind only ranges that start at multiples of this. The optimizer
        // would take any multiple of 4.
        let alignment = u64::from(device.limits().min_storage_buffer_offset_alignment);
        let size = |&len: &usize| 2 * (len as u64 * 4).next_multiple_of(alignment);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters and gradients"),
            size: parameters.iter().map(size).sum(),
            // The optimizer needs no more than STORAGE. COPY_DST is for the initial values,
            // COPY_SRC for checkpoints.
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { buffer, alignment, used: 0 }
    }

    pub fn parameter(&mut self, name: impl Into<String>, len: usize) -> Parameter {
        Parameter { name: name.into(), value: self.tensor(len), gradient: self.tensor(len) }
    }

    fn tensor(&mut self, len: usize) -> Tensor {
        let offset = self.used;
        self.used += (len as u64 * 4).next_multiple_of(self.alignment);
        Tensor { buffer: self.buffer.clone(), offset, len }
    }
}
