//! Devices to test on, and what they complain of.

use futures_channel::oneshot;
use std::sync::{Arc, Mutex};
use wgpu_optim::wgpu;

/// A device, its queue, and what it told nobody who waited for it.
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Gpu {
    /// A device with default limits.
    pub async fn new() -> Self {
        let descriptor = wgpu::DeviceDescriptor::default();
        let (device, queue) = adapter().await.request_device(&descriptor).await.expect("a device");
        let complaints = Arc::<Mutex<Vec<String>>>::default();
        let (errors, lost) = (complaints.clone(), complaints.clone());
        device.on_uncaptured_error(Arc::new(move |error| {
            errors.lock().expect("one thread").push(error.to_string());
        }));
        device.set_device_lost_callback(move |reason, message| {
            lost.lock().expect("one thread").push(format!("lost: {reason:?} {message}"));
        });
        Self { device, queue, complaints }
    }

    /// What it complained of, once all that was asked of it so far is done.
    pub async fn complaints(&self) -> Vec<String> {
        let (sender, done) = oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        done.await.expect("done");
        // Errors of all that came before are told before a scope's are.
        self.device.push_error_scope(wgpu::ErrorFilter::Validation).pop().await;
        std::mem::take(&mut *self.complaints.lock().expect("one thread"))
    }

    /// Panics if it complained.
    pub async fn check(&self, test: &str) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{test}: the device tells {complaints:#?}");
    }

    /// A buffer of these words that can be an optimizer's and be read.
    pub fn buffer(&self, words: &[u32]) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test"),
            size: 4 * words.len() as u64,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    /// All words of a buffer.
    pub async fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test readback"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.submit(encoder);
        let (sender, mapped) = oneshot::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, |result| drop(sender.send(result)));
        mapped.await.expect("a result").expect("mapped");
        let view = staging.slice(..).get_mapped_range().expect("mapped");
        bytemuck::pod_collect_to_vec(&view)
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// Records and submits a step.
    pub fn step(&self, optimizer: &mut wgpu_optim::Optimizer) {
        let mut encoder = self.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        self.submit(encoder);
    }
}

async fn adapter() -> wgpu::Adapter {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    instance.request_adapter(&Default::default()).await.expect("a browser with WebGPU")
}
