//! What each step uploads, on its way to the GPU.
//!
//! Each step has a slot of one buffer, written through the queue and chosen by a dynamic offset, so
//! that steps recorded before one submission keep their own. A slot is used again once the commands
//! that read it have run or were dropped. If more steps than there are slots are unfinished at once,
//! or a step needs a larger slot, the buffer is replaced by a larger one; the old one lives on in the
//! commands that bind it.

use super::guard::guarded;
use crate::error::Error;
use std::sync::Arc;

/// Slots at first: more steps than training loops leave unfinished, in 16 KiB for one group.
const FIRST_SLOTS: usize = 64;

/// How a slot is bound: parts of it, each by a bind group of its own.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub layout: wgpu::BindGroupLayout,
    pub usage: wgpu::BufferUsages,
    /// What the device aligns dynamic offsets to.
    pub alignment: u64,
    /// Offsets and sizes; a single part is the whole slot, whatever its size.
    pub ranges: Vec<(u64, u64)>,
}

/// A ring of slots.
#[derive(Debug)]
pub(super) struct Ring {
    parts: Parts,
    slot_bytes: u64,
    buffer: wgpu::Buffer,
    /// One for each part.
    bind_groups: Vec<wgpu::BindGroup>,
    /// Clones of a slot's mark live in the commands that read it.
    in_use: Vec<Arc<()>>,
    next: usize,
}

/// A slot taken for a step.
pub(super) struct Slot {
    index: usize,
    /// Keeps the slot from being used again.
    pub in_use: Arc<()>,
}

impl Ring {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device, parts: Parts, slot_bytes: u64) -> Self {
        Self::with_slots(device, parts, slot_bytes, FIRST_SLOTS)
    }

    fn with_slots(device: &wgpu::Device, parts: Parts, slot_bytes: u64, count: usize) -> Self {
        let slot_bytes = slot_bytes.max(1).next_multiple_of(parts.alignment);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim uploads"),
            size: slot_bytes * count as u64,
            usage: parts.usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let whole = [(0, slot_bytes)];
        let ranges = if parts.ranges.is_empty() { &whole[..] } else { &parts.ranges };
        let bind_groups = bind_ranges(device, &parts.layout, &buffer, ranges.iter().copied());
        let in_use = (0..count).map(|_| Arc::new(())).collect();
        Self { parts, slot_bytes, buffer, bind_groups, in_use, next: 0 }
    }

    /// A slot of so many bytes that no unfinished command reads.
    pub fn take(&mut self, device: &wgpu::Device, bytes: u64) -> Result<Slot, Error> {
        let busy = Arc::strong_count(&self.in_use[self.next]) > 1;
        if busy || bytes > self.slot_bytes {
            let count = self.in_use.len() * if busy { 2 } else { 1 };
            let bytes = if bytes > self.slot_bytes { 2 * bytes } else { self.slot_bytes };
            let parts = self.parts.clone();
            *self = guarded(device, "making room for more unfinished steps", || {
                Self::with_slots(device, parts, bytes, count)
            })?;
        }
        let index = self.next;
        self.next = (index + 1) % self.in_use.len();
        Ok(Slot { index, in_use: self.in_use[index].clone() })
    }

    pub fn write(&self, queue: &wgpu::Queue, slot: &Slot, bytes: &[u8]) {
        queue.write_buffer(&self.buffer, slot.index as u64 * self.slot_bytes, bytes);
    }

    /// What binds a part of a slot: the bind group and its dynamic offset.
    pub fn binding(&self, part: usize, slot: &Slot) -> (&wgpu::BindGroup, u32) {
        (&self.bind_groups[part], (slot.index as u64 * self.slot_bytes) as u32)
    }
}

/// A bind group for each range of a buffer.
pub(super) fn bind_ranges(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    buffer: &wgpu::Buffer,
    ranges: impl Iterator<Item = (u64, u64)>,
) -> Vec<wgpu::BindGroup> {
    let bind = |(offset, size): (u64, u64)| {
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-optim uploads"),
            layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset,
                    size: wgpu::BufferSize::new(size),
                }),
            }],
        })
    };
    ranges.map(bind).collect()
}
