//! Tables that kernels read and nobody writes.

/// Tables, in as few buffers as the device's limit allows.
pub(super) struct Tables {
    buffers: Vec<wgpu::Buffer>,
    /// Each table's buffer, offset and size.
    places: Vec<(usize, u64, u64)>,
}

impl Tables {
    /// To be called within an error scope.
    pub fn new<T: bytemuck::NoUninit>(
        device: &wgpu::Device,
        tables: impl IntoIterator<Item = Vec<T>>,
    ) -> Self {
        let limits = device.limits();
        let alignment = limits.min_storage_buffer_offset_alignment as usize;
        let mut contents: Vec<Vec<u8>> = Vec::new();
        let mut places = Vec::new();
        for table in tables {
            let bytes: &[u8] = bytemuck::cast_slice(&table);
            let start = contents.last().map_or(0, |last| last.len().next_multiple_of(alignment));
            if contents.is_empty() || (start + bytes.len()) as u64 > limits.max_buffer_size {
                contents.push(Vec::new());
            }
            let index = contents.len() - 1;
            let content = &mut contents[index];
            content.resize(content.len().next_multiple_of(alignment), 0);
            places.push((index, content.len() as u64, bytes.len() as u64));
            content.extend(bytes);
        }
        let buffers = contents.iter().map(|content| upload(device, content)).collect();
        Self { buffers, places }
    }

    pub fn binding(&self, table: usize) -> wgpu::BufferBinding<'_> {
        let (buffer, offset, size) = self.places[table];
        wgpu::BufferBinding {
            buffer: &self.buffers[buffer],
            offset,
            size: wgpu::BufferSize::new(size),
        }
    }
}

/// A read-only buffer of these bytes.
fn upload(device: &wgpu::Device, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim table"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: true,
    });
    // Fails only if the buffer could not be created, which the error scope reports.
    if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
        view.copy_from_slice(bytes);
    }
    buffer.unmap();
    buffer
}
