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

/// Which gradients are there at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradients {
    /// All: the optimizer's step comes after the whole backward pass.
    OfAllLayers,
    /// One layer's: each layer is stepped in the middle of the backward pass, and the next layer's
    /// gradients take the memory of its own.
    OfOneLayer,
}

/// One buffer that holds all parameters and the gradients.
///
/// A buffer for each tensor would work as well; the pool shows that tensors can be at any place
/// that the engine chooses. It works for the engine's kernels because none of them both reads
/// parameters and writes gradients. The optimizer, which reads gradients and writes parameters,
/// supports it.
pub struct Pool {
    buffer: wgpu::Buffer,
    alignment: u64,
    /// Where the next parameter and the next gradient start, and where a layer's gradients do.
    next_value: u64,
    next_gradient: u64,
    first_gradient: u64,
    gradients: Gradients,
}

impl Pool {
    /// A pool for layers whose parameters have these lengths, and their gradients.
    pub fn new<const N: usize>(
        device: &wgpu::Device,
        layers: &[[usize; N]],
        gradients: Gradients,
    ) -> Self {
        // The engine's kernels bind ranges, which must start at multiples of this. The optimizer
        // accepts any multiple of 4.
        let alignment = u64::from(device.limits().min_storage_buffer_offset_alignment);
        let size = |&len: &usize| (len as u64 * 4).next_multiple_of(alignment);
        let sizes = layers.iter().map(|layer| layer.iter().map(size).sum::<u64>());
        let values: u64 = sizes.clone().sum();
        let size = match gradients {
            Gradients::OfAllLayers => values,
            Gradients::OfOneLayer => sizes.max().unwrap_or(0),
        };
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters and gradients"),
            size: values + size,
            // The optimizer only needs STORAGE. COPY_DST is for the initial values, COPY_SRC for
            // checkpoints.
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let (next_value, next_gradient, first_gradient) = (0, values, values);
        Self { buffer, alignment, next_value, next_gradient, first_gradient, gradients }
    }

    /// The parameters of the next layer are to come.
    pub fn next_layer(&mut self) {
        if self.gradients == Gradients::OfOneLayer {
            self.next_gradient = self.first_gradient;
        }
    }

    pub fn parameter(&mut self, name: String, shape: &[usize]) -> Parameter {
        let len: usize = shape.iter().product();
        let bytes = (len as u64 * 4).next_multiple_of(self.alignment);
        let tensor = |next: &mut u64| {
            let offset = *next;
            *next += bytes;
            Tensor { buffer: self.buffer.clone(), offset, len }
        };
        let (value, gradient) = (tensor(&mut self.next_value), tensor(&mut self.next_gradient));
        Parameter { name, shape: shape.to_vec(), value, gradient }
    }

    /// Bytes of the parameters' values, and of the gradients.
    pub fn bytes(&self) -> [u64; 2] {
        [self.first_gradient, self.buffer.size() - self.first_gradient]
    }
}
