//! Pipelines, and dispatches ready to be recorded.

use super::buffers::{Buffers, StateOf};
use super::builder::{now, scoped};
use super::coefficients::Coefficients;
use crate::contract::{self, Location};
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::format::Access;
use crate::plan::{Dispatch, Window};
use crate::shader::{self, Shader, Stage};
use std::collections::HashMap;

/// A dispatch with all that it binds, recorded anew in each step.
#[derive(Debug)]
pub(super) struct Recorded {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    /// The kernel whose groups' coefficients it reads, if any.
    kernel: Option<usize>,
    grid: [u32; 2],
}

impl Recorded {
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        coefficients: &Coefficients,
        slot: usize,
    ) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        if let Some(kernel) = self.kernel {
            let (groups, offset) = coefficients.binding(kernel, slot);
            pass.set_bind_group(1, groups, &[offset]);
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

/// What is being done, in errors.
const BUILDING: &str = "building the optimizer";

/// A pipeline and the layout of its bind group 0.
type Pipeline = (wgpu::ComputePipeline, wgpu::BindGroupLayout);

/// Makes dispatches ready, compiling each pipeline once.
pub(super) struct Compiler<'a> {
    pub device: &'a wgpu::Device,
    buffers: &'a Buffers,
    /// The layout of bind group 1.
    groups_layout: &'a wgpu::BindGroupLayout,
    pipelines: HashMap<(usize, Stage, Access, bool), Pipeline>,
    sum: Option<Pipeline>,
}

impl<'a> Compiler<'a> {
    pub fn new(
        device: &'a wgpu::Device,
        buffers: &'a Buffers,
        coefficients: &'a Coefficients,
    ) -> Self {
        let groups_layout = &coefficients.layout;
        Self { device, buffers, groups_layout, pipelines: HashMap::new(), sum: None }
    }

    /// `groups` is the number of the kernel's groups; `table` is the dispatch's table; `extra` is bound
    /// after the states.
    pub fn ready(
        &mut self,
        dispatch: &Dispatch,
        stage: Stage,
        rule: &dyn DynRule,
        groups: usize,
        table: wgpu::BufferBinding<'_>,
        extra: Option<[wgpu::BufferBinding<'_>; 2]>,
    ) -> Result<Recorded, Error> {
        let kernel = dispatch.kernel;
        let key = (kernel, stage, dispatch.access, dispatch.shared());
        if !self.pipelines.contains_key(&key) {
            let shader = shader::link(rule, groups, stage, dispatch.access, dispatch.shared())?;
            let writable = writable(rule, stage, dispatch.shared());
            let groups = Some(self.groups_layout);
            let compiled = self.compile(Some(rule), &shader, &writable, groups)?;
            self.pipelines.insert(key, compiled);
        }
        let [params, grads, states] = dispatch.windows;
        let array = StateOf::default();
        let mut buffers = vec![table, self.binding(params, array), self.binding(grads, array)];
        let states = (0..self.buffers.states(kernel))
            .map(|state| self.binding(states, StateOf { kernel, state }));
        buffers.extend(states);
        buffers.extend(extra.into_iter().flatten());
        let pipeline = &self.pipelines[&key];
        Ok(Recorded {
            bind_group: self.bind_group(&pipeline.1, buffers),
            pipeline: pipeline.0.clone(),
            kernel: Some(kernel),
            grid: dispatch.grid,
        })
    }

    /// A dispatch that adds up norms: rows, parts and totals.
    pub fn sum(
        &mut self,
        buffers: [wgpu::BufferBinding<'_>; 3],
        grid: [u32; 2],
    ) -> Result<Recorded, Error> {
        let pipeline = match self.sum.take() {
            Some(pipeline) => pipeline,
            None => self.compile(None, &shader::link_sum(), &[false, false, true], None)?,
        };
        let bind_group = self.bind_group(&pipeline.1, buffers);
        let recorded = Recorded { bind_group, pipeline: pipeline.0.clone(), kernel: None, grid };
        self.sum = Some(pipeline);
        Ok(recorded)
    }

    /// `rule` is the shader's, if it is one's; `writable` says of each binding of group 0 whether it is
    /// written.
    fn compile(
        &self,
        rule: Option<&dyn DynRule>,
        shader: &Shader,
        writable: &[bool],
        groups_layout: Option<&wgpu::BindGroupLayout>,
    ) -> Result<Pipeline, Error> {
        let label = format!("wgpu-optim {}", rule.map_or("norms", DynRule::name));
        let storage = |&writable: &bool| wgpu::BufferBindingType::Storage { read_only: !writable };
        let entries: Vec<_> = writable
            .iter()
            .zip(0..)
            .map(|(writable, binding)| buffer_entry(binding, storage(writable), false))
            .collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let module = self.module(rule, shader, &label)?;
        let layouts: Vec<_> =
            [Some(&layout), groups_layout].into_iter().take_while(Option::is_some).collect();
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &layouts,
            immediate_size: 0,
        });
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(shader.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &shader.constants,
                ..Default::default()
            },
            cache: None,
        };
        match (scoped(self.device, || self.device.create_compute_pipeline(&descriptor)), rule) {
            ((pipeline, None), _) => Ok((pipeline, layout)),
            ((_, Some(error @ wgpu::Error::OutOfMemory { .. })), _) | ((_, Some(error)), None) => {
                Err(Error::device(BUILDING, error))
            }
            ((_, Some(error)), Some(rule)) => {
                Err(contract::explain(rule, shader, &error.to_string(), None))
            }
        }
    }

    /// Compiles a linked shader; mistakes are told in terms of the rule's own text.
    fn module(
        &self,
        rule: Option<&dyn DynRule>,
        shader: &Shader,
        label: &str,
    ) -> Result<wgpu::ShaderModule, Error> {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(shader.text.as_str().into()),
        };
        let (module, error) = scoped(self.device, || self.device.create_shader_module(descriptor));
        let Some(error) = error else {
            return Ok(module);
        };
        let info = now(module.get_compilation_info());
        // Errors that are the device's and not the text's leave no message there.
        Err(match (info.iter().flat_map(|info| &info.messages).next(), rule) {
            (Some(complaint), Some(rule)) => {
                let at = complaint.location.map(|at| Location {
                    line: at.line_number as usize,
                    column: at.line_position as usize,
                    length: at.length as usize,
                });
                contract::explain(rule, shader, &complaint.message, at)
            }
            _ => Error::device(BUILDING, error),
        })
    }

    fn bind_group<'b>(
        &self,
        layout: &wgpu::BindGroupLayout,
        buffers: impl IntoIterator<Item = wgpu::BufferBinding<'b>>,
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = buffers
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

/// Which bindings of group 0 a stage of a rule writes, in the order of `shader::link`.
fn writable(rule: &dyn DynRule, stage: Stage, shared: bool) -> Vec<bool> {
    let step = stage == Stage::Step;
    let mut writable = vec![false, step, step && shared];
    writable.extend(rule.states().iter().map(|_| step));
    if rule.trust_ratio().is_some() {
        writable.extend([false, !step]);
    }
    writable
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
