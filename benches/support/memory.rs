//! The memory of a device, which wgpu does not report.

use wgpu_optim::wgpu;

/// The size of the buffers that probe the memory.
const PROBE: u64 = 1 << 30;

/// More than any graphics card can allocate.
const MOST_PROBES: usize = 256;

/// The share of free memory that benches may use.
const SHARE_OF_CARD: f64 = 0.85;
const SHARE_OF_HOST: f64 = 0.25;

/// Bytes that buffers may have: most of what can be allocated in a graphics card's own memory, a
/// smaller share of the host's memory, which other processes need too.
pub fn of(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> u64 {
    let bytes = match info.device_type {
        wgpu::DeviceType::DiscreteGpu | wgpu::DeviceType::VirtualGpu => {
            allocatable(device) as f64 * SHARE_OF_CARD
        }
        _ => host_available() as f64 * SHARE_OF_HOST,
    };
    bytes as u64
}

/// Allocates until the device refuses, and frees everything.
fn allocatable(device: &wgpu::Device) -> u64 {
    let mut buffers = Vec::new();
    let size = PROBE.min(device.limits().max_buffer_size);
    while buffers.len() < MOST_PROBES {
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let usage = wgpu::BufferUsages::STORAGE;
        let descriptor =
            wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = device.create_buffer(&descriptor);
        if pollster::block_on(scope.pop()).is_some() {
            break;
        }
        buffers.push(buffer);
    }
    let bytes = buffers.len() as u64 * size;
    drop(buffers);
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is not lost");
    bytes
}

/// The host's free memory, or a small amount if the system does not report it.
fn host_available() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return UNKNOWN };
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or(UNKNOWN, |kibibytes| kibibytes * 1024)
}
