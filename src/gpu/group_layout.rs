//! Bind group layouts, made of a kernel's list of bindings.

use crate::shader::{Access, Binding, Group, in_group};

/// The layout of one group of a kernel's bindings. To be called within an error scope.
pub(super) fn group_layout(
    device: &wgpu::Device,
    bindings: &[Binding],
    group: Group,
) -> wgpu::BindGroupLayout {
    let entry = |(binding, Binding { access, .. }): (u32, &Binding)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match access {
                Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                Access::Uniform => wgpu::BufferBindingType::Uniform,
            },
            has_dynamic_offset: group == Group::Upload,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = in_group(bindings, group).map(entry).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("wgpu-optim"),
        entries: &entries,
    })
}
