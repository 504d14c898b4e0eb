//! What the GPU keeps where it decides on steps: the loss scale, the step counts, and its report.

use crate::control::{COUNT_BYTES, COUNTS_HEADER_BYTES, Report, Scale};
use crate::error::Error;
use crate::gpu::guard::guarded;
use crate::layout::geometry::{MAX_GATHERED, WORKGROUP_SIZE};
use crate::layout::words::Words;

/// Buffers that `shaders/passes/decide.wgsl` keeps from step to step.
#[derive(Debug)]
pub(super) struct Decision {
    /// The loss scale, an f32, for engines to bind too.
    pub scale: wgpu::Buffer,
    pub report: wgpu::Buffer,
    pub counts: wgpu::Buffer,
    /// Buffers of step counts that grew, until their successors are known to have the counts.
    grown: Vec<Grown>,
}

/// A buffer of step counts that was too small for all. `shaders/passes/grow.wgsl` copies it to its
/// successor, in the first step that runs.
#[derive(Debug)]
struct Grown {
    from: wgpu::Buffer,
    to: wgpu::Buffer,
    /// How many steps had been recorded when it grew.
    recorded: u64,
}

/// Step counts that there is room for at first.
const FIRST_COUNTS: usize = 64;

/// Bytes of the loss scale's buffer: what a uniform binding of one f32 takes on every backend.
const SCALE_BYTES: u64 = 16;

const USAGES: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::UNIFORM)
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

impl Decision {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, scale: &Scale) -> Self {
        let buffer = |label, size| create(device, label, size);
        let decision = Self {
            scale: buffer("wgpu-optim loss scale", SCALE_BYTES),
            report: buffer("wgpu-optim report", 4 * Report::LEN as u64),
            counts: count_buffer(device, FIRST_COUNTS),
            grown: Vec::new(),
        };
        decision.set_scale(queue, scale);
        decision
    }

    /// Sets the loss scale and what goes with it, before the commands of the next submission.
    pub fn set_scale(&self, queue: &wgpu::Queue, scale: &Scale) {
        let mut words = Vec::new();
        Report::before(scale).write(&mut words);
        queue.write_buffer(&self.scale, 0, bytemuck::bytes_of(&scale.scale));
        queue.write_buffer(&self.report, 0, bytemuck::cast_slice(&words));
    }

    /// Makes room for so many step counts. `recorded` steps were recorded so far; of these the
    /// `arrived`-th is the latest that is known to have run.
    pub fn reserve(
        &mut self,
        device: &wgpu::Device,
        counts: usize,
        recorded: u64,
        arrived: u64,
    ) -> Result<(), Error> {
        self.grown.retain(|grown| arrived <= grown.recorded);
        if bytes(counts) > self.counts.size() {
            let create = || count_buffer(device, 2 * counts);
            let to = guarded(device, "making room for step counts", create)?;
            let from = std::mem::replace(&mut self.counts, to.clone());
            self.grown.push(Grown { from, to, recorded });
        }
        Ok(())
    }

    /// The buffers to be copied before the next step, in order, and their successors.
    pub fn grown(&self) -> impl Iterator<Item = [&wgpu::Buffer; 2]> {
        self.grown.iter().map(|grown| [&grown.from, &grown.to])
    }

    /// The buffers that have or had the counts, oldest first.
    pub fn counted(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        self.grown.iter().map(|grown| &grown.from).chain([&self.counts])
    }

    /// How many entries the partial measures of so many blocks are gathered to.
    pub fn gathered(partials: u64) -> u64 {
        partials.div_ceil(WORKGROUP_SIZE).clamp(1, MAX_GATHERED)
    }
}

fn bytes(counts: usize) -> u64 {
    COUNTS_HEADER_BYTES + counts as u64 * COUNT_BYTES
}

fn count_buffer(device: &wgpu::Device, counts: usize) -> wgpu::Buffer {
    create(device, "wgpu-optim step counts", bytes(counts))
}

fn create(device: &wgpu::Device, label: &str, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: USAGES,
        mapped_at_creation: false,
    })
}
