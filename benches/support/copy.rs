//! Plain copies, the reference for bandwidth: nothing that reads and writes memory is faster.

use super::clock::{self, Kernel};
use super::gpu::{Gpu, PlainKernel};
use super::values::{self, PARAMETERS};
use rayon::prelude::*;
use wgpu_optim::wgpu;

/// An f32 is read and written.
pub const BYTES_PER_ELEMENT: usize = 8;

/// The number of elements of a copy that moves this many bytes, a multiple of 4.
pub fn elements_that_move(bytes: usize) -> usize {
    (bytes / BYTES_PER_ELEMENT).next_multiple_of(4)
}

pub struct GpuCopy {
    /// One for each pair of buffers; a large copy has several.
    kernels: Vec<PlainKernel>,
}

impl GpuCopy {
    pub fn checked(gpu: &Gpu, elements: usize) -> Self {
        let pipeline = gpu.pipeline(include_str!("copy.wgsl"));
        let (mut kernels, mut duplicates) = (Vec::new(), Vec::new());
        let most = gpu.most_bound();
        for start in (0..elements).step_by(most) {
            let len = most.min(elements - start);
            let [original, duplicate] = [(); 2].map(|()| gpu.zeros(len));
            values::fill(gpu, &[original.slice(..)], PARAMETERS);
            let bind_group = gpu.bind(&pipeline, &[&original, &duplicate]);
            let grid = gpu.grid(len.div_ceil(4 * 256) as u32);
            kernels.push(PlainKernel { pipeline: pipeline.clone(), bind_group, grid });
            duplicates.push(duplicate);
        }
        let mut copy = Self { kernels };
        clock::wall(gpu, 1, &mut copy);
        for duplicate in &duplicates {
            values::check_filled(gpu, &duplicate.slice(..), PARAMETERS);
        }
        copy
    }
}

impl Kernel for GpuCopy {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.kernels.iter().for_each(|kernel| kernel.record(pass));
    }
}

pub struct CpuCopy {
    original: Vec<f32>,
    duplicate: Vec<f32>,
}

impl CpuCopy {
    pub fn new(elements: usize) -> Self {
        Self { original: values::tensor(PARAMETERS, elements), duplicate: vec![0.0; elements] }
    }

    pub fn serial(&mut self) {
        self.duplicate.copy_from_slice(&self.original);
        std::hint::black_box(&mut self.duplicate);
    }

    /// In chunks of the same size as the optimizer's.
    pub fn parallel(&mut self) {
        const CHUNK: usize = 1 << 15;
        let chunks = self.duplicate.par_chunks_mut(CHUNK).zip(self.original.par_chunks(CHUNK));
        chunks.for_each(|(duplicate, original)| duplicate.copy_from_slice(original));
        std::hint::black_box(&mut self.duplicate);
    }
}
