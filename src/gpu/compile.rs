//! Pipelines, and dispatches ready to be recorded.

use crate::error::Error;
use crate::gpu::group_layout::group_layout;
use crate::gpu::guard::{now, scoped, told};
use crate::gpu::mix::Mixed;
use crate::gpu::ring::Slot;
use crate::gpu::uploads::{Bound, Uploads};
use crate::layout::geometry::{Exchange, MIN_SUBGROUP, Transport};
use crate::layout::limits::{Limits, need};
use crate::model::{Codec, Formats};
use crate::rule::DynRule;
use crate::shader::{
    Binding, Fixed, Group, Location, Resource, RuleKernel, Shader, explain, fixed, in_group,
    rule_kernel, storage_buffers,
};
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
        uploads: &Uploads,
        slot: &Slot,
        last: Option<&Self>,
    ) {
        let same_pipeline = last.is_some_and(|last| last.pipeline == self.pipeline);
        if !same_pipeline {
            pass.set_pipeline(&self.pipeline);
        }
        pass.set_bind_group(0, &self.bind_group, &[]);
        let same_bound = last.is_some_and(|last| last.bound == self.bound);
        if !(same_pipeline && same_bound) {
            uploads.bind(pass, self.bound, slot);
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    /// Records a dispatch that binds nothing of an upload.
    pub fn record_alone(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

/// What is being done, in errors.
pub(super) const BUILDING: &str = "building the optimizer";

/// A kernel, by what tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A kernel of a rule, by the rule's index among an optimizer's.
    Rule(usize, RuleKernel),
    Fixed(Fixed),
}

/// A pipeline, what it binds, and the layout of its bind group 0.
#[derive(Debug, Clone)]
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    bindings: Vec<Binding>,
}

/// A module of a rule's kernel, kept since a browser tells its mistakes later.
#[cfg(target_arch = "wasm32")]
#[derive(Debug)]
pub(super) struct Module {
    pub module: wgpu::ShaderModule,
    pub shader: Shader,
    /// The rule's index among an optimizer's.
    pub rule: usize,
}

/// Buffers to bind, by what they hold.
pub(super) type Operands<'b> = Vec<(Resource, wgpu::BufferBinding<'b>)>;

/// Compiles each pipeline once, and makes dispatches ready.
#[derive(Debug)]
pub(super) struct Compiler {
    pub device: wgpu::Device,
    pub limits: Limits,
    cache: Option<wgpu::PipelineCache>,
    /// Whether vec4 are better moved as two words of 64 bits.
    prefers_u64: bool,
    /// How threads exchange what they add up.
    pub exchange: Exchange,
    /// How they exchange what they measure; `None` if one measures a block alone.
    pub measuring: Option<Exchange>,
    pipelines: HashMap<Key, Pipeline, Mixed>,
    /// Those of rules' kernels whose mistakes may not be known yet.
    #[cfg(target_arch = "wasm32")]
    pub modules: Vec<Module>,
}

impl Compiler {
    pub fn new(device: &wgpu::Device, cache: Option<wgpu::PipelineCache>) -> Self {
        // Measured on Mesa's lavapipe and nowhere else: see benches/NOTES.md.
        let prefers_u64 = device.features().contains(wgpu::Features::SHADER_INT64)
            && device.adapter_info().driver == "llvmpipe";
        let has_subgroups = device.features().contains(wgpu::Features::SUBGROUP)
            && u64::from(device.adapter_info().subgroup_min_size) >= MIN_SUBGROUP;
        let exchange = if has_subgroups { Exchange::Subgroups } else { Exchange::Memory };
        // Browsers fall back on SwiftShader, which runs threads that meet at a barrier one by one,
        // each with a stack of its own. Measured there and nowhere else: see benches/NOTES.md.
        let wgpu::AdapterInfo { device_type, backend, .. } = device.adapter_info();
        let is_fallback =
            (device_type, backend) == (wgpu::DeviceType::Cpu, wgpu::Backend::BrowserWebGpu);
        let measuring = (!is_fallback).then_some(exchange);
        let (limits, pipelines) = (Limits::from(&device.limits()), HashMap::default());
        Self {
            device: device.clone(),
            limits,
            cache,
            prefers_u64,
            exchange,
            measuring,
            pipelines,
            #[cfg(target_arch = "wasm32")]
            modules: Vec::new(),
        }
    }

    /// How this device best reaches elements that may be reached so.
    pub fn best(&self, transport: Transport) -> Transport {
        match transport {
            Transport::Vec4 if self.prefers_u64 => Transport::U64,
            transport => transport,
        }
    }

    /// The kernel that measures gradients.
    pub fn measure(&self, transport: Transport, codec: Codec) -> Fixed {
        Fixed::Measure { transport: self.best(transport), exchange: self.measuring, codec }
    }

    /// The kernel that zeroes gradients.
    pub fn zero(&self, transport: Transport, codec: Codec) -> Fixed {
        Fixed::Zero { transport: self.best(transport), codec }
    }

    /// The kernel that exchanges parameters and averages, which are the states of this index.
    pub fn swap(&self, transport: Transport, formats: Formats, average: usize) -> Fixed {
        Fixed::Swap { transport: self.best(transport), formats, average }
    }

    /// Compiles a kernel of a rule, unless it is compiled already.
    pub fn rule(
        &mut self,
        index: usize,
        kernel: RuleKernel,
        rule: &dyn DynRule,
    ) -> Result<Key, Error> {
        let key = Key::Rule(index, kernel);
        if !self.pipelines.contains_key(&key) {
            let shader = rule_kernel(rule, kernel, &self.limits)?;
            let pipeline = self.pipeline(shader, Some((index, rule)))?;
            self.pipelines.insert(key, pipeline);
        }
        Ok(key)
    }

    /// Forgets the kernels of rules from this index on.
    pub fn forget_rules(&mut self, first: usize) {
        self.pipelines.retain(|key, _| !matches!(key, Key::Rule(index, _) if *index >= first));
        #[cfg(target_arch = "wasm32")]
        self.modules.retain(|module| module.rule < first);
    }

    /// Compiles a kernel that is the same for every rule, unless it is compiled already.
    pub fn fixed(&mut self, kernel: Fixed) -> Result<Key, Error> {
        let key = Key::Fixed(kernel);
        if !self.pipelines.contains_key(&key) {
            let pipeline = self.pipeline(fixed(kernel), None)?;
            self.pipelines.insert(key, pipeline);
        }
        Ok(key)
    }

    /// A dispatch of a compiled kernel that binds these buffers.
    pub fn ready(
        &self,
        key: Key,
        operands: &Operands<'_>,
        bound: Bound,
        grid: [u32; 2],
    ) -> Result<Recorded, Error> {
        let Pipeline { pipeline, layout, bindings } = self
            .pipelines
            .get(&key)
            .ok_or_else(|| Error::device("preparing a step", format!("{key:?} is not compiled")))?;
        let mut entries = Vec::with_capacity(bindings.len());
        for (number, binding) in in_group(bindings, Group::Fixed) {
            let operand = operands.iter().find(|(resource, _)| *resource == binding.resource);
            let (_, buffer) = operand.ok_or_else(|| {
                let message = format!("{key:?} has no buffer for its `{}`", binding.name);
                Error::device("preparing a step", message)
            })?;
            let resource = wgpu::BindingResource::Buffer(buffer.clone());
            entries.push(wgpu::BindGroupEntry { binding: number, resource });
        }
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-optim step"),
            layout,
            entries: &entries,
        });
        Ok(Recorded { pipeline: pipeline.clone(), bind_group, bound, grid })
    }

    /// `rule` is the shader's, if it is one's, with its index.
    fn pipeline(
        &mut self,
        shader: Shader,
        rule: Option<(usize, &dyn DynRule)>,
    ) -> Result<Pipeline, Error> {
        let (_index, rule) = rule.unzip();
        let needed = storage_buffers(&shader.bindings);
        let found = self.limits.max_storage_buffers_per_shader_stage;
        let names: Vec<_> = shader.bindings.iter().map(|binding| binding.name.as_str()).collect();
        let reason = format!("{} binds {}", shader.label, names.join(", "));
        need("max_storage_buffers_per_shader_stage", found, needed, reason)?;

        let label = format!("wgpu-optim: {}", shader.label);
        let groups = [Group::Fixed, Group::Upload];
        let layouts = groups.map(|group| group_layout(&self.device, &shader.bindings, group));
        let has_uploads = in_group(&shader.bindings, Group::Upload).next().is_some();
        let bound: Vec<_> = layouts.iter().take(1 + usize::from(has_uploads)).map(Some).collect();
        let module = self.module(&shader, rule, &label)?;
        #[cfg(target_arch = "wasm32")]
        if let Some(rule) = _index {
            let (module, shader) = (module.clone(), shader.clone());
            self.modules.push(Module { module, shader, rule });
        }
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &bound,
            immediate_size: 0,
        });
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &shader.overrides,
                zero_initialize_workgroup_memory: shader.zeroed_memory,
            },
            cache: self.cache.as_ref(),
        };
        let create = || self.device.create_compute_pipeline(&descriptor);
        match (scoped(&self.device, create), rule) {
            ((pipeline, None), _) => {
                let [layout, _] = layouts;
                Ok(Pipeline { pipeline, layout, bindings: shader.bindings })
            }
            ((_, Some(error @ wgpu::Error::OutOfMemory { .. })), _) | ((_, Some(error)), None) => {
                Err(told(&self.device, BUILDING, error))
            }
            ((_, Some(error)), Some(rule)) => {
                Err(explain(rule.own(), &shader, &error.to_string(), None))
            }
        }
    }

    /// Compiles a linked shader; mistakes are told in terms of the rule's own text.
    fn module(
        &self,
        shader: &Shader,
        rule: Option<&dyn DynRule>,
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
        let told = || told(&self.device, BUILDING, error);
        Err(rule
            .zip(info)
            .and_then(|(rule, info)| mistake(rule, shader, &info))
            .unwrap_or_else(told))
    }
}

/// The first mistake that a compiler found in a rule's kernel, in terms of the rule's own text.
pub(super) fn mistake(
    rule: &dyn DynRule,
    shader: &Shader,
    info: &wgpu::CompilationInfo,
) -> Option<Error> {
    let is_error = |message: &&wgpu::CompilationMessage| {
        message.message_type == wgpu::CompilationMessageType::Error
    };
    let complaint = info.messages.iter().find(is_error)?;
    let at = complaint.location.map(|at| Location {
        line: at.line_number as usize,
        column: at.line_position as usize,
        length: at.length as usize,
    });
    Some(explain(rule.own(), shader, &complaint.message, at))
}

impl From<&wgpu::Limits> for Limits {
    /// To be made from the limits of the device in hand, which may be lower than its adapter's.
    fn from(limits: &wgpu::Limits) -> Self {
        Self {
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_uniform_buffer_binding_size: limits.max_uniform_buffer_binding_size,
            max_buffer_size: limits.max_buffer_size,
            max_compute_workgroups_per_dimension: limits
                .max_compute_workgroups_per_dimension
                .into(),
            max_compute_invocations_per_workgroup: limits
                .max_compute_invocations_per_workgroup
                .into(),
            max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x.into(),
            max_storage_buffers_per_shader_stage: limits
                .max_storage_buffers_per_shader_stage
                .into(),
            min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment.into(),
            min_uniform_buffer_offset_alignment: limits.min_uniform_buffer_offset_alignment.into(),
        }
    }
}
