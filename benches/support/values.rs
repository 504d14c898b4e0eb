//! The numbers that tensors are filled with, on the CPU and on the GPU. They are periodic, so that
//! a small reference determines every element of a large tensor.

use super::gpu::Gpu;
use wgpu_optim::wgpu;

/// Elements after which a tensor's numbers repeat.
pub const PERIOD: usize = 1 << 16;

/// Seeds, to which the tensor's index is added.
pub const PARAMETERS: usize = 0;
pub const GRADIENTS: usize = 1 << 16;

/// Elements of one upload, and bytes between submissions, which free wgpu's staging memory.
const UPLOAD: usize = 1 << 22;
const UPLOADED_AT_MOST: usize = 1 << 28;

/// Numbers between −1 and 1, without a pattern.
pub fn tensor(seed: usize, len: usize) -> Vec<f32> {
    let value = |i: usize| {
        let x = ((i % PERIOD) as u32 ^ (seed as u32).rotate_left(16)).wrapping_mul(0x9e37_79b9);
        let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        (x ^ (x >> 13)).cast_signed() as f32 / 2_f32.powi(31)
    };
    let period: Vec<f32> = (0..len.min(PERIOD)).map(value).collect();
    period.iter().copied().cycle().take(len).collect()
}

/// Writes a tensor's numbers to its slices.
pub fn fill(gpu: &Gpu, slices: &[wgpu::BufferSlice<'_>], seed: usize) {
    let total: usize = slices.iter().map(|slice| elements(slice)).sum();
    let numbers = tensor(seed, total.min(UPLOAD + PERIOD));
    let (mut first, mut uploaded) = (0, 0);
    for slice in slices {
        for start in (0..elements(slice)).step_by(UPLOAD) {
            let len = UPLOAD.min(elements(slice) - start);
            let from = (first + start) % PERIOD;
            let offset = slice.offset() + 4 * start as u64;
            let part = bytemuck::cast_slice(&numbers[from..from + len]);
            gpu.queue.write_buffer(slice.buffer(), offset, part);
            uploaded += part.len();
            if uploaded >= UPLOADED_AT_MOST {
                gpu.queue.submit([]);
                gpu.wait();
                uploaded = 0;
            }
        }
        first += elements(slice);
    }
}

pub fn elements(slice: &wgpu::BufferSlice<'_>) -> usize {
    slice.size() as usize / 4
}

/// Panics unless a slice holds the numbers of a tensor.
pub fn check_filled(gpu: &Gpu, slice: &wgpu::BufferSlice<'_>, seed: usize) {
    let len = elements(slice);
    for window in windows(len) {
        let part = slice.slice(4 * window.start as u64..4 * window.end as u64);
        let found: Vec<f32> = gpu.read(&[part]);
        let expected = tensor(seed, len.min(PERIOD));
        let same = window.clone().zip(&found).all(|(i, &x)| x == expected[i % PERIOD]);
        assert!(same, "the copy of {len} elements differs within {window:?}");
    }
}

/// The parts of a tensor that are compared: all of a small tensor; of a large one both ends and
/// some parts between them.
pub fn windows(len: usize) -> Vec<std::ops::Range<usize>> {
    const WHOLE: usize = 1 << 18;
    const WINDOW: usize = 1 << 12;
    const WINDOWS: usize = 7;
    if len <= WHOLE {
        return std::iter::once(0..len).collect();
    }
    let last = len - WINDOW;
    (0..=WINDOWS).map(|k| last / WINDOWS * k).chain([last]).map(|at| at..at + WINDOW).collect()
}
