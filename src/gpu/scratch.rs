//! Memory that lives within a step, kept from one set of commands to the next.

use std::collections::HashMap;

/// Buffers by name and number.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    buffers: HashMap<(String, usize), wgpu::Buffer>,
}

impl Scratch {
    /// The buffer of this name and number, if it has this size, or a new one. To be called within
    /// an error scope. Steps that were recorded with the old one keep it.
    pub fn buffer(
        &mut self,
        device: &wgpu::Device,
        name: &str,
        number: usize,
        size: u64,
    ) -> wgpu::Buffer {
        let key = (name.to_owned(), number);
        if let Some(buffer) = self.buffers.get(&key).filter(|buffer| buffer.size() == size) {
            return buffer.clone();
        }
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&format!("wgpu-optim {name}")),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        self.buffers.insert(key, buffer.clone());
        buffer
    }

    /// Forgets all, as after a failure half of them may be invalid.
    pub fn clear(&mut self) {
        self.buffers.clear();
    }
}
