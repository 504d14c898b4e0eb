//! Plain copies, the yardstick of bandwidth: nothing that reads and writes memory is faster for long.

use super::clock::{self, Kernel};
use super::gpu::{Gpu, PlainKernel};
use super::workload::values;
use rayon::prelude::*;
use wgpu_optim::wgpu;

/// f32 read and written.
pub const BYTES_PER_ELEMENT: usize = 8;

pub struct GpuCopy {
    kernel: PlainKernel,
    grid: [u32; 2],
}

impl GpuCopy {
    pub fn checked(gpu: &Gpu, elements: usize) -> Self {
        let original = values(0, elements);
        let duplicate = gpu.storage(&vec![0.0_f32; elements]);
        let buffers = [&gpu.storage(&original), &duplicate];
        let kernel = gpu.kernel(include_str!("copy.wgsl"), &buffers);
        let grid = gpu.grid(elements.div_ceil(4 * 256) as u32);
        let mut copy = Self { kernel, grid };
        clock::wall(gpu, 1, &mut copy);
        assert!(gpu.read::<f32>(&duplicate) == original, "the copy of {elements} elements differs");
        copy
    }
}

impl Kernel for GpuCopy {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.kernel.record(pass, self.grid);
    }
}

pub struct CpuCopy {
    original: Vec<f32>,
    duplicate: Vec<f32>,
}

impl CpuCopy {
    pub fn new(elements: usize) -> Self {
        Self { original: values(0, elements), duplicate: vec![0.0; elements] }
    }

    pub fn serial(&mut self) {
        self.duplicate.copy_from_slice(&self.original);
        std::hint::black_box(&mut self.duplicate);
    }

    /// In chunks of as many elements as the optimizer's.
    pub fn parallel(&mut self) {
        const CHUNK: usize = 1 << 15;
        let chunks = self.duplicate.par_chunks_mut(CHUNK).zip(self.original.par_chunks(CHUNK));
        chunks.for_each(|(duplicate, original)| duplicate.copy_from_slice(original));
        std::hint::black_box(&mut self.duplicate);
    }
}
