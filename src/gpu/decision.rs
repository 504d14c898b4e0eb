//! What the GPU keeps where it decides on steps: the loss scale, the step counts, and its report.

use super::guard::guarded;
use crate::control::Scale;
use crate::error::Error;
use crate::request::{CLOCK_BYTES, REPORT_BYTES};
use crate::shader::{MAX_GATHERED, WORKGROUP_SIZE};

/// Buffers that `shaders/driver/control.wgsl` keeps from step to step.
#[derive(Debug)]
pub(super) struct Decision {
    /// The loss scale, an f32, for engines to bind too.
    pub scale: wgpu::Buffer,
    pub report: wgpu::Buffer,
    pub clocks: wgpu::Buffer,
    /// The clocks' buffer before, if the next step still has to copy it.
    outgrown: Option<wgpu::Buffer>,
}

/// Clocks that there is room for at first.
const FIRST_CLOCKS: usize = 64;

/// Bytes of the loss scale's buffer: what a uniform binding of one f32 takes on every backend.
const SCALE_BYTES: u64 = 16;

impl Decision {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, scale: &Scale, clocks: usize) -> Self {
        let buffer = |label, size| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let decision = Self {
            scale: buffer("wgpu-optim loss scale", SCALE_BYTES),
            report: buffer("wgpu-optim report", REPORT_BYTES),
            clocks: clock_buffer(device, clocks.max(FIRST_CLOCKS)),
            outgrown: None,
        };
        queue.write_buffer(&decision.scale, 0, bytemuck::bytes_of(&scale.scale));
        decision
    }

    /// Makes room for so many clocks.
    pub fn reserve(&mut self, device: &wgpu::Device, clocks: usize) -> Result<(), Error> {
        if clocks as u64 * CLOCK_BYTES > self.clocks.size() {
            let create = || clock_buffer(device, 2 * clocks);
            let larger = guarded(device, "making room for step counts", create)?;
            let old = std::mem::replace(&mut self.clocks, larger);
            // If two are outgrown between two steps, only the first has counts.
            self.outgrown.get_or_insert(old);
        }
        Ok(())
    }

    /// The buffer that has the counts of the steps so far.
    pub fn counted(&self) -> &wgpu::Buffer {
        self.outgrown.as_ref().unwrap_or(&self.clocks)
    }

    /// The buffer whose counts have to be copied before the next step.
    pub fn outgrown(&self) -> Option<&wgpu::Buffer> {
        self.outgrown.as_ref()
    }

    /// Copies the counts of an outgrown buffer.
    pub fn copy_outgrown(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Some(old) = &self.outgrown {
            encoder.copy_buffer_to_buffer(old, 0, &self.clocks, 0, old.size());
        }
    }

    /// To be called when the step that comes after the copy is recorded.
    pub fn forget_outgrown(&mut self) {
        self.outgrown = None;
    }

    /// How many entries the partial measures of so many blocks are gathered to.
    pub fn gathered(partials: u64) -> u64 {
        partials.div_ceil(WORKGROUP_SIZE).clamp(1, MAX_GATHERED)
    }
}

fn clock_buffer(device: &wgpu::Device, clocks: usize) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim step counts"),
        size: clocks as u64 * CLOCK_BYTES,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
