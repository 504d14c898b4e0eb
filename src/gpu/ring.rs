//! What each step uploads, on its way to the GPU.
//!
//! Each step has a slot of one buffer, written through the queue and chosen by dynamic offsets, so
//! that steps recorded before one submission keep their own. A slot is used again once the commands
//! that read it have run or were dropped. If more steps than there are slots are unfinished at
//! once, or a step needs a larger slot, the buffer is replaced by a larger one; the old one stays
//! alive in the commands that bind it.

use crate::error::Error;
use crate::gpu::guard::{guarded, scoped_by, told};
use std::sync::Arc;

/// Slots at first, if a buffer may be so large: more steps than training loops have unfinished.
const FIRST_SLOTS: u64 = 64;

/// A range of a slot: offset and size in bytes.
pub(super) type Range = (u64, u64);

/// How a slot is bound.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub layout: wgpu::BindGroupLayout,
    pub usage: wgpu::BufferUsages,
    /// What the device aligns dynamic offsets to.
    pub alignment: u64,
    /// The most bytes of a buffer.
    pub max_buffer: u64,
    /// For each bind group the range of each of its bindings; none for one bind group of one
    /// binding, the whole slot.
    pub groups: Vec<Vec<Range>>,
}

/// A ring of slots.
#[derive(Debug)]
pub(super) struct Ring {
    parts: Parts,
    slot_bytes: u64,
    buffer: wgpu::Buffer,
    bind_groups: Vec<wgpu::BindGroup>,
    /// Clones of a slot's mark are held by the commands that read it.
    in_use: Vec<Arc<()>>,
    next: usize,
}

/// A slot taken for a step.
#[derive(Debug)]
pub(super) struct Slot {
    index: usize,
    /// Keeps the slot from being used again.
    pub in_use: Arc<()>,
}

impl Ring {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device, parts: Parts, slot_bytes: u64) -> Self {
        let most = parts.max_buffer / slot_bytes.max(1).next_multiple_of(parts.alignment);
        Self::with_slots(device, parts, slot_bytes, FIRST_SLOTS.min(most).max(1) as usize)
    }

    fn with_slots(device: &wgpu::Device, parts: Parts, slot_bytes: u64, count: usize) -> Self {
        let slot_bytes = slot_bytes.max(1).next_multiple_of(parts.alignment);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim uploads"),
            size: slot_bytes * count as u64,
            usage: parts.usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let whole = [vec![(0, slot_bytes)]];
        let groups = if parts.groups.is_empty() { &whole[..] } else { &parts.groups };
        let bind = |ranges: &Vec<Range>| bind_ranges(device, &parts.layout, &buffer, ranges);
        let bind_groups = groups.iter().map(bind).collect();
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

    /// Memory that is written to a slot when it is dropped. On a lost device there is none.
    pub fn open(
        &self,
        (device, queue): (&wgpu::Device, &wgpu::Queue),
        slot: &Slot,
        bytes: u64,
    ) -> Result<wgpu::QueueWriteBufferView, Error> {
        let during = "uploading a step";
        let size = wgpu::BufferSize::new(bytes);
        let size = size.ok_or_else(|| Error::device(during, "it has no bytes"))?;
        let offset = slot.index as u64 * self.slot_bytes;
        let open = || queue.write_buffer_with(&self.buffer, offset, size);
        match scoped_by(device, [wgpu::ErrorFilter::OutOfMemory], open) {
            (_, Some(error)) => Err(told(device, during, error)),
            (view, None) => view.ok_or(Error::Lost { during }),
        }
    }

    /// A bind group of a slot, and the dynamic offset of each of its bindings.
    pub fn binding(&self, group: usize, slot: &Slot) -> (&wgpu::BindGroup, u32) {
        (&self.bind_groups[group], (slot.index as u64 * self.slot_bytes) as u32)
    }
}

/// A bind group of these ranges of a buffer.
pub(super) fn bind_ranges(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    buffer: &wgpu::Buffer,
    ranges: &[Range],
) -> wgpu::BindGroup {
    let entry = |(binding, &(offset, size)): (u32, &Range)| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    };
    let entries: Vec<_> = (0..).zip(ranges).map(entry).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("wgpu-optim uploads"),
        layout,
        entries: &entries,
    })
}
