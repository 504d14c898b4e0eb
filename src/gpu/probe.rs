//! Buffers that cannot be bound, and a queue that is not the device's, found before they are used.

use crate::error::Error;
#[cfg(target_arch = "wasm32")]
use crate::gpu::guard::awaited;
use crate::gpu::guard::scoped;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::guard::{failed, guarded, is_lost};
use crate::gpu::mix::Mixed;
#[cfg(target_arch = "wasm32")]
use crate::gpu::readback::{Readback, words_of};
use crate::layout::geometry::ELEMENT_BYTES;
use std::collections::HashSet;
use std::hash::BuildHasher;

/// Tells whether buffers can be bound on a device.
#[derive(Debug)]
pub(super) struct Probe {
    device: wgpu::Device,
    layout: wgpu::BindGroupLayout,
    /// Hashes of buffers found good: no handles, which would keep their memory. wgpu numbers
    /// buffers, and gives no number twice.
    good: HashSet<u64, Mixed>,
}

/// The most buffers that are remembered.
const MOST_GOOD: usize = 1 << 14;

impl Probe {
    /// To be called within an error scope.
    pub fn new(device: &wgpu::Device) -> Self {
        let entry = wgpu::BindGroupLayoutEntry {
            binding: 0,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: true },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("wgpu-optim: can buffers be bound?"),
            entries: &[entry],
        });
        Self { device: device.clone(), layout, good: HashSet::default() }
    }

    /// Refuses a parameter's buffer, which has the usage `STORAGE`, if it is another device's or
    /// was destroyed.
    ///
    /// In browsers nothing is refused here: what is wrong reaches the device's error handler.
    pub fn check(&self, parameter: &str, buffer: &wgpu::Buffer) -> Result<(), Error> {
        match scoped(&self.device, || self.bind(buffer)) {
            (_, None) => Ok(()),
            (_, Some(error)) => Err(foreign_buffer(parameter, &error)),
        }
    }

    /// The same where it can be awaited, in browsers too. A browser tells of a destroyed buffer
    /// when commands that use it are submitted.
    #[cfg(target_arch = "wasm32")]
    pub async fn ask(&self, parameter: &str, buffer: &wgpu::Buffer) -> Result<(), Error> {
        match awaited(&self.device, || self.bind(buffer)).await {
            (_, None) => Ok(()),
            (_, Some(error)) => Err(foreign_buffer(parameter, &error)),
        }
    }

    /// Binds the start of a buffer. One without elements is never bound.
    fn bind(&self, buffer: &wgpu::Buffer) {
        if buffer.size() < ELEMENT_BYTES {
            return;
        }
        let size = wgpu::BufferSize::new(ELEMENT_BYTES);
        let binding = wgpu::BufferBinding { buffer, offset: 0, size };
        let _ = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-optim: can the buffer be bound?"),
            layout: &self.layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(binding),
            }],
        });
    }

    /// The same, but a buffer that was found good once is not tried again.
    pub fn check_new(&mut self, parameter: &str, buffer: &wgpu::Buffer) -> Result<(), Error> {
        let hash = Mixed::default().hash_one(buffer);
        if self.good.contains(&hash) {
            return Ok(());
        }
        self.check(parameter, buffer)?;
        if self.good.len() == MOST_GOOD {
            self.good.clear();
        }
        self.good.insert(hash);
        Ok(())
    }
}

fn foreign_buffer(parameter: &str, error: &wgpu::Error) -> Error {
    Error::parameter(
        parameter,
        "a buffer of the device that the optimizer was built on, not destroyed",
        error.to_string().trim_end(),
        "Create the buffer on that device, and keep it as long as steps use it",
    )
}

/// What is being done, in errors.
const COMPARING: &str = "comparing the queue with the device";

fn foreign_queue() -> Error {
    Error::Setting {
        expected: "the queue of the device that the optimizer is built on, but found the queue of \
                   another"
            .into(),
        remedy: "Pass to `build` the device and the queue that came together from `request_device`"
            .into(),
    }
}

/// How long a callback may take to run on another thread that polled the device.
#[cfg(not(target_arch = "wasm32"))]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Refuses the queue of another device. wgpu cannot compare them, and tells misuse to the other
/// device only; but what is queued is reported where its own device is polled.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn check_queue(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Error> {
    let (sender, reported) = std::sync::mpsc::channel();
    guarded(device, COMPARING, || {
        queue.on_submitted_work_done(move || {
            // Nobody listens any more if the queue was refused.
            sender.send(()).ok();
        });
    })?;
    // An idle queue reports at once; a busy one when it has done what was submitted.
    for poll in [wgpu::PollType::Poll, wgpu::PollType::wait_indefinitely()] {
        device.poll(poll).map_err(|error| failed(device, COMPARING, error))?;
        if reported.try_recv().is_ok() {
            return Ok(());
        }
    }
    reported.recv_timeout(PATIENCE).map_err(|_| match is_lost(device) {
        true => Error::Lost { during: COMPARING },
        false => foreign_queue(),
    })
}

/// The same in a browser, which polls all devices alike: what another device's queue is to write to
/// this one's buffer does not arrive.
#[cfg(target_arch = "wasm32")]
pub(super) async fn ask_queue(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Error> {
    const MARK: u32 = 1;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim: is the queue the device's?"),
        size: wgpu::COPY_BUFFER_ALIGNMENT,
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    queue.write_buffer(&buffer, 0, bytemuck::bytes_of(&MARK));
    let source = (&buffer, 0, buffer.size());
    let read = Readback::start(device, queue, &[source], |bytes| words_of(bytes[0]))?;
    // It is not mapped where the device was lost, and else whatever the queue does.
    let words = read.await.map_err(|_| Error::Lost { during: COMPARING })?;
    if words == [MARK] { Ok(()) } else { Err(foreign_queue()) }
}
