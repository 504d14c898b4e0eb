//! Pipelines, and dispatches ready to be recorded.

use super::coefficients::{Bound, Coefficients, Layouts};
use super::guard::{now, scoped};
use super::ring::Slot;
use crate::contract::{self, Location};
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::format::Access;
use crate::shader::{self, Shader, Stage, Sums, Variant};
use std::collections::HashMap;

/// A dispatch with all that it binds, recorded anew in each step.
#[derive(Debug)]
pub(super) struct Recorded {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    bound: Bound,
    grid: [u32; 2],
}

impl Recorded {
    /// What is set already stays so; `last` is the dispatch recorded before.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        coefficients: &Coefficients,
        slot: &Slot,
        last: Option<&Self>,
    ) {
        let same_pipeline = last.is_some_and(|last| last.pipeline == self.pipeline);
        if !same_pipeline {
            pass.set_pipeline(&self.pipeline);
        }
        pass.set_bind_group(0, &self.bind_group, &[]);
        let same_bound = last.is_some_and(|last| last.bound == self.bound);
        match coefficients.binding(self.bound, slot) {
            Some((bind_group, offset)) if !(same_pipeline && same_bound) => {
                pass.set_bind_group(1, bind_group, &[offset]);
            }
            _ => {}
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    /// Records what binds nothing that changes from step to step.
    pub fn record_alone(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

/// What is being done, in errors.
const BUILDING: &str = "building the optimizer";

/// A kernel, by what tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A kernel's index, the entries of its pages, and what it does.
    Rule(usize, usize, Variant),
    /// What writes the tables of blocks, with the blocks' tensors if something sums.
    Rows {
        sums: bool,
    },
    Measure(Access),
    Sum(Sums),
    Gather,
    Control,
}

/// A pipeline and the layout of its bind group 0.
#[derive(Debug, Clone)]
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Makes dispatches ready, compiling each pipeline once.
#[derive(Debug)]
pub(super) struct Compiler {
    pub device: wgpu::Device,
    pub layouts: Layouts,
    cache: Option<wgpu::PipelineCache>,
    /// Whether vec4 are better moved as two words of 64 bits.
    prefers_u64: bool,
    pipelines: HashMap<Key, Pipeline>,
}

impl Compiler {
    pub fn new(device: &wgpu::Device, cache: Option<wgpu::PipelineCache>) -> Self {
        let layouts = Layouts::new(device);
        // Measured on Mesa's lavapipe and nowhere else: see benches/NOTES.md.
        let prefers_u64 = device.features().contains(wgpu::Features::SHADER_INT64)
            && device.adapter_info().driver == "llvmpipe";
        let pipelines = HashMap::new();
        Self { device: device.clone(), layouts, cache, prefers_u64, pipelines }
    }

    /// How this device best reaches elements that may be reached so.
    pub fn best(&self, access: Access) -> Access {
        match access {
            Access::Vec4 if self.prefers_u64 => Access::U64,
            access => access,
        }
    }

    /// A dispatch of a kernel that binds these buffers. `rule` is that of a rule's kernel.
    pub fn ready<'b>(
        &mut self,
        key: Key,
        rule: Option<&dyn DynRule>,
        buffers: impl IntoIterator<Item = wgpu::BufferBinding<'b>>,
        bound: Bound,
        grid: [u32; 2],
    ) -> Result<Recorded, Error> {
        if !self.pipelines.contains_key(&key) {
            let pipeline = self.compile(key, rule)?;
            self.pipelines.insert(key, pipeline);
        }
        let Pipeline { pipeline, layout } = &self.pipelines[&key];
        let bind_group = self.bind_group(layout, buffers);
        Ok(Recorded { pipeline: pipeline.clone(), bind_group, bound, grid })
    }

    fn compile(&self, key: Key, rule: Option<&dyn DynRule>) -> Result<Pipeline, Error> {
        let page = Some(&self.layouts.page);
        let request = Some(&self.layouts.request);
        match (key, rule) {
            (Key::Rule(_, entries, variant), Some(rule)) => {
                let shader = shader::link(rule, entries, &variant)?;
                self.pipeline(Some(rule), &shader, &writable(rule, &variant), page)
            }
            (Key::Measure(access), _) => {
                let writable = [false, false, false, true];
                self.pipeline(None, &shader::link_measure(access), &writable, None)
            }
            (Key::Rows { sums }, _) => {
                let writable = [false, false, true, true];
                let writable = if sums { &writable[..] } else { &writable[..3] };
                self.pipeline(None, &shader::link_rows(sums), writable, None)
            }
            (Key::Sum(sums), _) => {
                self.pipeline(None, &shader::link_sum(sums), &[false, false, true], None)
            }
            (Key::Control, _) => {
                let writable = [false, true, true, true, true];
                self.pipeline(None, &shader::link_control(), &writable, request)
            }
            (Key::Gather | Key::Rule(..), _) => {
                self.pipeline(None, &shader::link_gather(), &[false, true], None)
            }
        }
    }

    /// `rule` is the shader's, if it is one's; `writable` says of each binding of group 0 whether it is
    /// written.
    fn pipeline(
        &self,
        rule: Option<&dyn DynRule>,
        shader: &Shader,
        writable: &[bool],
        groups_layout: Option<&wgpu::BindGroupLayout>,
    ) -> Result<Pipeline, Error> {
        let label = format!("wgpu-optim {}", rule.map_or(shader.entry_point, DynRule::name));
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
            cache: self.cache.as_ref(),
        };
        match (scoped(&self.device, || self.device.create_compute_pipeline(&descriptor)), rule) {
            ((pipeline, None), _) => Ok(Pipeline { pipeline, layout }),
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
        let (module, error) = scoped(&self.device, || self.device.create_shader_module(descriptor));
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
}

/// Which bindings of group 0 a kernel of a rule writes, in the order of `shader::link`.
fn writable(rule: &dyn DynRule, variant: &Variant) -> Vec<bool> {
    let step = variant.stage == Stage::Step;
    let mut writable = vec![false, step, variant.writes_grads()];
    writable.extend(rule.states().iter().map(|_| step));
    if rule.trust_ratio().is_some() || variant.sums() {
        writable.push(false);
    }
    if step && rule.trust_ratio().is_some() {
        writable.push(false);
    }
    if variant.sums() {
        writable.push(true);
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
