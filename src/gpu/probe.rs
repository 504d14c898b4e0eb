//! Buffers that cannot be bound, and a queue that is not the device's, found before they are used.

use crate::error::Error;
use crate::gpu::guard::{failed, guarded, is_lost, scoped};
use crate::gpu::mix::Mixed;
use crate::layout::geometry::ELEMENT_BYTES;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::mpsc;
use std::time::Duration;

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
    pub fn check(&self, parameter: &str, buffer: &wgpu::Buffer) -> Result<(), Error> {
        if buffer.size() < ELEMENT_BYTES {
            // It has no elements, and is never bound.
            return Ok(());
        }
        let size = wgpu::BufferSize::new(ELEMENT_BYTES);
        let binding = wgpu::BufferBinding { buffer, offset: 0, size };
        let bind = || {
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("wgpu-optim: can the buffer be bound?"),
                layout: &self.layout,
                entries: &[wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(binding),
                }],
            })
        };
        match scoped(&self.device, bind) {
            (_, None) => Ok(()),
            (_, Some(error)) => Err(Error::parameter(
                parameter,
                "a buffer of the device that the optimizer was built on, not destroyed",
                error.to_string().trim_end(),
                "Create the buffer on that device, and keep it as long as steps use it",
            )),
        }
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

/// How long a callback may take to run on another thread that polled the device.
const PATIENCE: Duration = Duration::from_secs(5);

/// Refuses the queue of another device. wgpu cannot compare them, and tells misuse to the other
/// device only; but what is queued is reported where its own device is polled.
pub(super) fn check_queue(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Error> {
    if cfg!(target_arch = "wasm32") {
        // Nothing can wait there.
        return Ok(());
    }
    let during = "comparing the queue with the device";
    let (sender, reported) = mpsc::channel();
    guarded(device, during, || {
        queue.on_submitted_work_done(move || {
            // Nobody listens any more if the queue was refused.
            sender.send(()).ok();
        });
    })?;
    // An idle queue reports at once; a busy one when it has done what was submitted.
    for poll in [wgpu::PollType::Poll, wgpu::PollType::wait_indefinitely()] {
        device.poll(poll).map_err(|error| failed(device, during, error))?;
        if reported.try_recv().is_ok() {
            return Ok(());
        }
    }
    reported.recv_timeout(PATIENCE).map_err(|_| {
        let refused = Error::Setting {
            expected:
                "the queue of the device that the optimizer is built on, but found the queue \
                       of another"
                    .into(),
            remedy: "Pass to `build` the device and the queue that came together from \
                     `request_device`"
                .into(),
        };
        if is_lost(device) { Error::Lost { during } } else { refused }
    })
}
