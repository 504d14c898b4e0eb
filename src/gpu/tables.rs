//! Tables that kernels read and nobody writes.

/// Tables, in as few buffers as the device's limit allows.
pub(super) struct Tables {
    buffers: Vec<wgpu::Buffer>,
    /// Each table's buffer, offset and size.
    places: Vec<(usize, u64, u64)>,
}

impl Tables {
    /// To be called within an error scope.
    pub fn new<T: bytemuck::NoUninit>(device: &wgpu::Device, tables: &[Vec<T>]) -> Self {
        let limits = device.limits();
        let alignment = limits.min_storage_buffer_offset_alignment.into();
        let mut sizes: Vec<u64> = Vec::new();
        let mut places = Vec::new();
        for table in tables {
            let size = size_of_val(table.as_slice()) as u64;
            let start = sizes.last().map_or(0, |used| used.next_multiple_of(alignment));
            let fits = !sizes.is_empty() && start + size <= limits.max_buffer_size;
            let start = if fits { start } else { 0 };
            if !fits {
                sizes.push(0);
            }
            let index = sizes.len() - 1;
            sizes[index] = start + size;
            places.push((index, start, size));
        }
        let buffers: Vec<_> = sizes.iter().map(|&size| create(device, size)).collect();
        for (table, &(buffer, start, size)) in tables.iter().zip(&places) {
            // Fails only if the buffer could not be created, which the error scope reports.
            if let Ok(mut view) = buffers[buffer].slice(start..start + size).get_mapped_range_mut()
            {
                view.copy_from_slice(bytemuck::cast_slice(table));
            }
        }
        buffers.iter().for_each(wgpu::Buffer::unmap);
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

/// A read-only buffer, mapped to be written once.
fn create(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim table"),
        size,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: true,
    })
}
