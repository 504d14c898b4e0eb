//! Tables that kernels read, and how they share buffers.

/// Tables that the host writes once, in as few buffers as the device's limit allows.
pub(super) struct Tables {
    buffers: Vec<wgpu::Buffer>,
    /// Each table's buffer, offset and size.
    places: Vec<(usize, u64, u64)>,
}

impl Tables {
    /// To be called within an error scope.
    pub fn new<T: bytemuck::NoUninit>(device: &wgpu::Device, tables: &[impl AsRef<[T]>]) -> Self {
        let limits = device.limits();
        let bytes = tables.iter().map(|table| size_of_val(table.as_ref()) as u64);
        let alignment = limits.min_storage_buffer_offset_alignment.into();
        let (places, sizes) = packed(bytes, alignment, limits.max_buffer_size);
        let create = |&size: &u64| create(device, "wgpu-optim table", size, true);
        let buffers: Vec<_> = sizes.iter().map(create).collect();
        for (table, &(buffer, start, size)) in tables.iter().zip(&places) {
            fill(buffers[buffer].slice(start..start + size), table.as_ref());
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

/// Packs tables of these sizes into as few buffers as hold `most` each: each table's buffer, start
/// and size, and each buffer's size.
pub(super) fn packed(
    tables: impl IntoIterator<Item = u64>,
    alignment: u64,
    most: u64,
) -> (Vec<(usize, u64, u64)>, Vec<u64>) {
    let mut sizes: Vec<u64> = Vec::new();
    let mut place = |size: u64| {
        let start = sizes.last().map_or(0, |used| used.next_multiple_of(alignment));
        let fits = !sizes.is_empty() && start + size <= most;
        let start = if fits { start } else { 0 };
        if !fits {
            sizes.push(0);
        }
        let buffer = sizes.len() - 1;
        sizes[buffer] = start + size;
        (buffer, start, size)
    };
    let places = tables.into_iter().map(&mut place).collect();
    (places, sizes)
}

/// A table that the host writes once, in a buffer of its own. To be called within an error scope.
pub(super) fn written<T: bytemuck::NoUninit>(
    device: &wgpu::Device,
    label: &str,
    table: &[T],
) -> wgpu::Buffer {
    let buffer = create(device, label, size_of_val(table) as u64, true);
    fill(buffer.slice(..), table);
    buffer.unmap();
    buffer
}

fn fill<T: bytemuck::NoUninit>(slice: wgpu::BufferSlice<'_>, table: &[T]) {
    // Fails only if the buffer could not be created, which the error scope reports.
    if let Ok(mut view) = slice.get_mapped_range_mut() {
        view.copy_from_slice(bytemuck::cast_slice(table));
    }
}

/// A buffer that kernels bind, mapped if the host writes it.
pub(super) fn create(device: &wgpu::Device, label: &str, size: u64, mapped: bool) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: mapped,
    })
}
