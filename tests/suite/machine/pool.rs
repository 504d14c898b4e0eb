//! The caller's memory: two buffers, cut into slots of which each holds one array at any offset.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::wgpu;

/// The most elements of a parameter here.
pub const MOST_ELEMENTS: usize = 2100;

/// Bytes of a slot: an array of the widest elements, and offsets of up to 32 bytes before it.
const SLOT: usize = 4 * MOST_ELEMENTS + 64;

/// Slots of each buffer.
const SLOTS: usize = 32;

/// A byte that is nobody's.
const CANARY: u8 = 0xa5;

/// Where an array is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub buffer: usize,
    pub slot: usize,
    pub byte: usize,
}

pub struct Pool {
    gpu: &'static Gpu,
    pub buffers: [wgpu::Buffer; 2],
    taken: [[bool; SLOTS]; 2],
}

impl Pool {
    pub fn new(gpu: &'static Gpu) -> Self {
        let words = vec![f32::from_bits(u32::from_ne_bytes([CANARY; 4])); SLOT * SLOTS / 4];
        let buffers = [0, 1].map(|_| gpu.buffer(&words));
        Self { gpu, buffers, taken: [[false; SLOTS]; 2] }
    }

    /// A free place whose byte is a multiple of `alignment`, in a slot without a byte of its former
    /// array.
    pub fn take(&mut self, random: &mut Random, alignment: usize) -> At {
        loop {
            let buffer = random.next() as usize % 2;
            let slot = random.next() as usize % SLOTS;
            if !self.taken[buffer][slot] {
                self.taken[buffer][slot] = true;
                let offset = random.next() as usize % (33 / alignment) * alignment;
                // Offsets of 0 and 16 reach vec4 more often than chance would.
                let offset =
                    if random.next().is_multiple_of(2) { offset / 16 * 16 } else { offset };
                let start = (slot * SLOT) as u64;
                self.gpu.queue.write_buffer(&self.buffers[buffer], start, &vec![CANARY; SLOT]);
                return At { buffer, slot, byte: slot * SLOT + offset };
            }
        }
    }

    pub fn free(&mut self, at: At) {
        self.taken[at.buffer][at.slot] = false;
    }

    /// Writes an array's bytes, in words: what is beside them in their words is nobody's.
    pub fn write(&self, at: At, bytes: &[u8]) {
        let before = at.byte % 4;
        let mut words = vec![CANARY; before];
        words.extend_from_slice(bytes);
        words.resize(words.len().next_multiple_of(4), CANARY);
        self.gpu.queue.write_buffer(&self.buffers[at.buffer], (at.byte - before) as u64, &words);
    }

    /// Panics if a byte outside these arrays was written, of which each has so many.
    pub fn check(&self, arrays: &[(At, usize)]) {
        for (index, buffer) in self.buffers.iter().enumerate() {
            let bytes: Vec<u8> = bytemuck::pod_collect_to_vec(&self.gpu.read(buffer));
            for (at, len) in arrays.iter().filter(|(at, _)| at.buffer == index) {
                let slot = &bytes[at.slot * SLOT..(at.slot + 1) * SLOT];
                let start = at.byte - at.slot * SLOT;
                let around = slot[..start].iter().chain(&slot[start + len..]);
                let clean = around.copied().all(|byte| byte == CANARY);
                assert!(clean, "a byte beside {at:?} of {len} was written");
            }
        }
    }
}
