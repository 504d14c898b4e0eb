//! Tensors: ranges of the engine's GPU buffers.

use std::num::NonZeroU64;
use wgpu_optim::Param;

/// A tensor of 32-bit elements in a buffer, which may hold other tensors too.
pub struct Tensor {
    pub buffer: wgpu::Buffer,
    /// Its offset in bytes.
    pub offset: u64,
    /// Its number of elements.
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

/// A tensor that is trained, and its gradient.
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub value: Tensor,
    pub gradient: Tensor,
}

/// What the optimizer needs to know about a parameter: its name, its shape, and where the engine
/// keeps it and its gradient. Nothing is copied.
impl From<&Parameter> for Param {
    fn from(Parameter { name, shape, value, gradient }: &Parameter) -> Self {
        Param::new(name, &shape[..])
            .buffers((&value.buffer, value.offset), (&gradient.buffer, gradient.offset))
    }
}

/// One buffer that holds all parameters and all gradients.
///
/// A buffer for each tensor would work as well; the pool shows that tensors can be at any place
/// that the engine chooses. It works for the engine's kernels because none of them both reads
/// parameters and writes gradients. The optimizer, which reads gradients and writes parameters,
/// supports it.
pub struct Pool {
    buffer: wgpu::Buffer,
    alignment: u64,
    used: u64,
}

impl Pool {
    /// A pool for parameters of these lengths and their gradients.
    pub fn new(device: &wgpu::Device, parameters: &[usize]) -> Self {
        // The engine's kernels bind ranges, which must start at multiples of this. The optimizer
        // accepts any multiple of 4.
        let alignment = u64::from(device.limits().min_storage_buffer_offset_alignment);
        let size = |&len: &usize| 2 * (len as u64 * 4).next_multiple_of(alignment);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters and gradients"),
            size: parameters.iter().map(size).sum(),
            // The optimizer only needs STORAGE. COPY_DST is for the initial values, COPY_SRC for
            // checkpoints.
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { buffer, alignment, used: 0 }
    }

    pub fn parameter(&mut self, name: String, shape: &[usize]) -> Parameter {
        let len = shape.iter().product();
        let (value, gradient) = (self.tensor(len), self.tensor(len));
        Parameter { name, shape: shape.to_vec(), value, gradient }
    }

    fn tensor(&mut self, len: usize) -> Tensor {
        let offset = self.used;
        self.used += (len as u64 * 4).next_multiple_of(self.alignment);
        Tensor { buffer: self.buffer.clone(), offset, len }
    }
}
