//! The groups' coefficients on their way to the GPU.
//!
//! Each step has a slot of one buffer, written through the queue and chosen by a dynamic offset, so
//! that steps recorded before one submission keep their own. A slot is used again once the commands
//! that read it have run or were dropped. If more steps than there are slots are unfinished at once,
//! the buffer is replaced by one of twice the size; the old one lives on in the commands that bind it.

use super::builder::guarded;
use super::kernel::buffer_entry;
use crate::error::Error;
use crate::groups::Groups;
use crate::rule::{Before, Fields};
use crate::shader::{UNIFORM_ALIGNMENT, group_stride};
use std::sync::Arc;

/// Slots at first: more steps than training loops leave unfinished, in 16 KiB for one group.
const FIRST_SLOTS: usize = 64;

/// Uploads coefficients and binds them.
#[derive(Debug)]
pub(super) struct Coefficients {
    pub layout: wgpu::BindGroupLayout,
    kernels: Vec<KernelGroups>,
    slot_bytes: u64,
    slots: Slots,
    /// Reused from step to step.
    coeffs: Vec<f64>,
    upload: Vec<u8>,
}

/// The groups of one kernel, which lie side by side in a slot.
#[derive(Debug)]
struct KernelGroups {
    groups: Vec<usize>,
    /// Where they start in a slot.
    offset: u64,
    size: u64,
}

#[derive(Debug)]
struct Slots {
    buffer: wgpu::Buffer,
    /// One for each kernel.
    bind_groups: Vec<wgpu::BindGroup>,
    /// Clones of a slot's mark live in the commands that read it.
    in_use: Vec<Arc<()>>,
    next: usize,
}

/// A slot taken for a step.
pub(super) struct Slot {
    pub index: usize,
    /// Keeps the slot from being used again.
    pub in_use: Arc<()>,
}

impl Coefficients {
    /// `kernels` lists each kernel's groups. To be called within an error scope.
    pub fn new(device: &wgpu::Device, groups: &Groups, kernels: &[Vec<usize>]) -> Self {
        let alignment = u64::from(device.limits().min_uniform_buffer_offset_alignment);
        let mut slot_bytes = 0;
        let place = |members: &Vec<usize>| {
            let stride =
                members.first().map_or(0, |&g| group_stride(groups.groups[g].rule.as_ref()));
            let size = stride * members.len() as u64;
            let offset = slot_bytes;
            slot_bytes = (offset + size).next_multiple_of(alignment);
            KernelGroups { groups: members.clone(), offset, size }
        };
        let kernels: Vec<_> = kernels.iter().map(place).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("wgpu-optim coefficients"),
            entries: &[buffer_entry(0, wgpu::BufferBindingType::Uniform, true)],
        });
        let slots = Slots::new(device, &layout, &kernels, slot_bytes, FIRST_SLOTS);
        Self { layout, kernels, slot_bytes, slots, coeffs: Vec::new(), upload: Vec::new() }
    }

    /// Takes every group to its next step and uploads the coefficients for it. If it fails, no group
    /// has moved.
    pub fn upload(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        groups: &mut Groups,
    ) -> Result<Slot, Error> {
        let slot = self.take_slot(device)?;
        self.upload.clear();
        for kernel in &self.kernels {
            self.upload.resize(kernel.offset as usize, 0);
            for &group in &kernel.groups {
                self.coeffs.clear();
                groups.groups[group].advance(&mut self.coeffs);
                let (before, own) = self.coeffs.split_at(Before::<f64>::NAMES.len());
                for part in [before, own] {
                    self.upload.extend(part.iter().flat_map(|&x| (x as f32).to_le_bytes()));
                    let padded = self.upload.len().next_multiple_of(UNIFORM_ALIGNMENT as usize);
                    self.upload.resize(padded, 0);
                }
            }
        }
        let offset = slot.index as u64 * self.slot_bytes;
        queue.write_buffer(&self.slots.buffer, offset, &self.upload);
        Ok(slot)
    }

    /// What a kernel binds to read a slot: the bind group and its dynamic offset.
    pub fn binding(&self, kernel: usize, slot: usize) -> (&wgpu::BindGroup, u32) {
        let offset = slot as u64 * self.slot_bytes;
        (&self.slots.bind_groups[kernel], offset as u32)
    }

    fn take_slot(&mut self, device: &wgpu::Device) -> Result<Slot, Error> {
        if Arc::strong_count(&self.slots.in_use[self.slots.next]) > 1 {
            let count = self.slots.in_use.len() * 2;
            self.slots = guarded(device, "making room for more unfinished steps", || {
                Slots::new(device, &self.layout, &self.kernels, self.slot_bytes, count)
            })?;
        }
        let index = self.slots.next;
        self.slots.next = (index + 1) % self.slots.in_use.len();
        Ok(Slot { index, in_use: self.slots.in_use[index].clone() })
    }
}

impl Slots {
    fn new(
        device: &wgpu::Device,
        layout: &wgpu::BindGroupLayout,
        kernels: &[KernelGroups],
        slot_bytes: u64,
        count: usize,
    ) -> Self {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim coefficients"),
            size: (slot_bytes * count as u64).max(wgpu::COPY_BUFFER_ALIGNMENT),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let bind_group = |kernel: &KernelGroups| {
            device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("wgpu-optim coefficients"),
                layout,
                entries: &[wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &buffer,
                        offset: kernel.offset,
                        size: wgpu::BufferSize::new(kernel.size),
                    }),
                }],
            })
        };
        let bind_groups = kernels.iter().map(bind_group).collect();
        Self { buffer, bind_groups, in_use: (0..count).map(|_| Arc::new(())).collect(), next: 0 }
    }
}
