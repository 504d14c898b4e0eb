//! Limits of devices, for what needs no device.

use wgpu_optim::internals::limits::Limits;

/// Those that every WebGPU device has.
pub const DEFAULTS: Limits = Limits {
    max_storage_buffer_binding_size: 128 << 20,
    max_uniform_buffer_binding_size: 64 << 10,
    max_buffer_size: 256 << 20,
    max_compute_workgroups_per_dimension: 65_535,
    max_compute_invocations_per_workgroup: 256,
    max_compute_workgroup_size_x: 256,
    max_storage_buffers_per_shader_stage: 8,
    min_storage_buffer_offset_alignment: 256,
    min_uniform_buffer_offset_alignment: 256,
};
