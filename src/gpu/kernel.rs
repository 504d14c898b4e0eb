//! Pipelines, and dispatches ready to be recorded.

use super::buffers::{Buffers, StateOf};
use super::builder::{now, scoped};
use super::coefficients::Coefficients;
use crate::contract::{self, Location};
use crate::error::Error;
use crate::format::Access;
use crate::plan::{Dispatch, Window};
use crate::rule::DynRule;
use crate::shader::{self, FIRST_STATE_BINDING, Shader};
use std::collections::HashMap;

/// A dispatch with all that it binds, recorded anew in each step.
#[derive(Debug)]
pub(super) struct Recorded {
    kernel: usize,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Recorded {
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        coefficients: &Coefficients,
        slot: usize,
    ) {
        let (groups, offset) = coefficients.binding(self.kernel, slot);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.set_bind_group(1, groups, &[offset]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

/// What is being done, in errors.
const BUILDING: &str = "building the optimizer";

/// Makes dispatches ready, compiling each pipeline once.
pub(super) struct Compiler<'a> {
    pub device: &'a wgpu::Device,
    pub buffers: &'a Buffers,
    /// The layout of bind group 1.
    pub groups_layout: &'a wgpu::BindGroupLayout,
    pub pipelines: HashMap<(usize, Access, bool), (wgpu::ComputePipeline, wgpu::BindGroupLayout)>,
}

impl Compiler<'_> {
    /// `groups` is the number of the kernel's groups; `table` is the dispatch's table, where it lies in
    /// its buffer.
    pub fn ready(
        &mut self,
        dispatch: &Dispatch,
        rule: &dyn DynRule,
        groups: usize,
        table: wgpu::BufferBinding<'_>,
    ) -> Result<Recorded, Error> {
        let key = (dispatch.kernel, dispatch.access, dispatch.shared());
        if !self.pipelines.contains_key(&key) {
            let compiled = self.compile(rule, groups, dispatch.access, dispatch.shared())?;
            self.pipelines.insert(key, compiled);
        }
        let (pipeline, layout) = &self.pipelines[&key];
        Ok(Recorded {
            kernel: dispatch.kernel,
            pipeline: pipeline.clone(),
            bind_group: self.bind_group(dispatch, layout, table),
            grid: dispatch.grid,
        })
    }

    fn compile(
        &self,
        rule: &dyn DynRule,
        groups: usize,
        access: Access,
        shared: bool,
    ) -> Result<(wgpu::ComputePipeline, wgpu::BindGroupLayout), Error> {
        let linked = shader::link(rule, groups, access, shared)?;
        let label = format!("wgpu-optim {}", rule.name());
        let states = rule.states().len() as u32;
        let read_only = |binding| binding == 0 || (binding == 2 && !shared);
        let storage = |binding| wgpu::BufferBindingType::Storage { read_only: read_only(binding) };
        let entries: Vec<_> = (0..FIRST_STATE_BINDING + states)
            .map(|binding| buffer_entry(binding, storage(binding), false))
            .collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let module = self.module(rule, &linked, &label)?;
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout), Some(self.groups_layout)],
            immediate_size: 0,
        });
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(shader::ENTRY_POINT),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &linked.constants,
                ..Default::default()
            },
            cache: None,
        };
        match scoped(self.device, || self.device.create_compute_pipeline(&descriptor)) {
            (pipeline, None) => Ok((pipeline, layout)),
            (_, Some(error @ wgpu::Error::OutOfMemory { .. })) => {
                Err(Error::device(BUILDING, error))
            }
            (_, Some(error)) => Err(contract::explain(rule, &linked, &error.to_string(), None)),
        }
    }

    /// Compiles a linked shader; mistakes are told in terms of the rule's own text.
    fn module(
        &self,
        rule: &dyn DynRule,
        linked: &Shader,
        label: &str,
    ) -> Result<wgpu::ShaderModule, Error> {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(linked.text.as_str().into()),
        };
        let (module, error) = scoped(self.device, || self.device.create_shader_module(descriptor));
        let Some(error) = error else {
            return Ok(module);
        };
        let info = now(module.get_compilation_info());
        // Errors that are the device's and not the text's leave no message there.
        Err(match info.iter().flat_map(|info| &info.messages).next() {
            Some(complaint) => {
                let at = complaint.location.map(|at| Location {
                    line: at.line_number as usize,
                    column: at.line_position as usize,
                    length: at.length as usize,
                });
                contract::explain(rule, linked, &complaint.message, at)
            }
            None => Error::device(BUILDING, error),
        })
    }

    fn bind_group(
        &self,
        dispatch: &Dispatch,
        layout: &wgpu::BindGroupLayout,
        table: wgpu::BufferBinding<'_>,
    ) -> wgpu::BindGroup {
        let kernel = dispatch.kernel;
        let [params, grads, states] = dispatch.windows;
        let array = StateOf::default();
        let mut resources = vec![table, self.binding(params, array), self.binding(grads, array)];
        let states = (0..self.buffers.states(kernel))
            .map(|state| self.binding(states, StateOf { kernel, state }));
        resources.extend(states);
        let entries: Vec<_> = resources
            .into_iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(buffer),
            })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-optim step"),
            layout,
            entries: &entries,
        })
    }

    fn binding(&self, window: Window, of: StateOf) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: self.buffers.get(window.buffer, of),
            offset: window.offset,
            size: wgpu::BufferSize::new(window.size),
        }
    }
}

/// A buffer's entry in a bind group layout.
pub(super) fn buffer_entry(
    binding: u32,
    ty: wgpu::BufferBindingType,
    has_dynamic_offset: bool,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}
