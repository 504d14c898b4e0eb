//! The engine on the GPU: what it keeps, how it grows, and how a step is made ready after a change.

use crate::control::{Control, Request, Scale};
use crate::error::Error;
use crate::gpu::blocks::MOST_BY_HOST;
use crate::gpu::buffers::{Buffers, Part, StateOf};
use crate::gpu::commands::{Commands, Inputs};
use crate::gpu::compile::Compiler;
use crate::gpu::decision::Decision;
use crate::gpu::guard::{check_usage, guarded};
use crate::gpu::place::Place;
use crate::gpu::probe::Probe;
use crate::gpu::scratch::Scratch;
use crate::gpu::uploads::Uploads;
use crate::gpu::write::write;
use crate::layout::geometry::{BLOCK, Exchange, Transport};
use crate::layout::kernels::Kernels;
use crate::layout::pages::{Pages, Slots, check_slot};
use crate::layout::placement::{self, Layout, ParamSpec, Placement, Span};
use crate::layout::plan::plan;
use crate::model::Model;
use crate::optimizer::{Array, Engine, sealed::Sealed};
use crate::rule::{Pass, Program};
use crate::shader::{CHANGED_SUMS, Extras, Fixed, RuleKernel, SumOf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The engine on the GPU.
#[derive(Debug)]
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) kernels: Kernels,
    pub(super) layout: Layout,
    pub(super) buffers: Buffers,
    pub(super) compiler: Compiler,
    pub(super) probe: Probe,
    scratch: Scratch,
    /// Where the GPU decides on steps.
    pub(super) decision: Option<Decision>,
    /// `None` if something changed since the last step.
    pub(super) ready: Option<Ready>,
    /// Kept while its pages stay the same.
    uploads: Option<(Pages, Uploads)>,
    /// What the GPU is asked where it decides, with what it may not know yet.
    pub(super) request: Request,
    /// The number of the latest step that is known to have run.
    pub(super) arrived: Arc<AtomicU64>,
    /// Memory for moving parameters.
    pub(super) moved: Vec<Moved>,
}

/// A parameter that moves, and the caller's places that it had before, if any.
pub(super) type Moved = (usize, Option<[placement::Place; 2]>);

/// A step that can be recorded as often as nothing changes.
#[derive(Debug)]
pub(super) struct Ready {
    pub commands: Commands,
    pub pages: Pages,
    pub uploads: Uploads,
    /// The number of the first step that was recorded with it, if one was.
    pub first_step: Option<u64>,
}

impl Gpu {
    /// Features of a device that make steps faster and change nothing else: request those that the
    /// adapter has, `required_features: adapter.features() & Gpu::FEATURES`. Subgroups add up norms
    /// and statistics without barriers; on Mesa's lavapipe words of 64 bits move elements faster.
    pub const FEATURES: wgpu::Features =
        wgpu::Features::SUBGROUP.union(wgpu::Features::SHADER_INT64);

    /// An engine without parameters.
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        control: &Control,
        cache: Option<wgpu::PipelineCache>,
    ) -> Result<Self, Error> {
        guarded(device, "building the optimizer", || {
            let compiler = Compiler::new(device, cache);
            let scale = Scale::new(control);
            let decision = control.decides().then(|| Decision::new(device, queue, &scale));
            Self {
                device: device.clone(),
                queue: queue.clone(),
                kernels: Kernels::default(),
                layout: Layout::new(&compiler.limits),
                buffers: Buffers::default(),
                compiler,
                probe: Probe::new(device),
                scratch: Scratch::default(),
                decision,
                ready: None,
                uploads: None,
                request: Request::default(),
                arrived: Arc::default(),
                moved: Vec::new(),
            }
        })
    }

    /// The number of the latest step that is known to have run.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Makes the next step ready to be recorded, if something changed since the last.
    pub(super) fn prepare(
        &mut self,
        model: &Model,
        control: &Control,
    ) -> Result<&mut Ready, Error> {
        if self.ready.is_none() {
            self.ready = Some(self.made_ready(model, control)?);
        }
        let missing = || Error::device("preparing a step", "it is not ready");
        self.ready.as_mut().ok_or_else(missing)
    }

    fn made_ready(&mut self, model: &Model, control: &Control) -> Result<Ready, Error> {
        let limits = self.compiler.limits;
        let pages = Pages::new(model, &self.kernels, &limits);
        let slots: Vec<_> = model.params.iter().map(|param| pages.of_count[param.count]).collect();
        let dispatches = plan(&self.layout, &slots, &limits);
        let (device, arrived) = (self.device.clone(), self.arrived());
        if let Some(decision) = &mut self.decision {
            decision.reserve(&device, model.counts.len(), model.recorded(), arrived)?;
        }
        let made = guarded(&device, "preparing a step", || {
            let old = self.uploads.take().filter(|(old, _)| old.same_shape(&pages));
            let decides = self.decision.is_some();
            let uploads = old.map_or_else(
                || Uploads::new(&device, &limits, &pages, decides),
                |(_, uploads)| uploads,
            );
            let inputs = Inputs {
                model,
                kernels: &self.kernels,
                pages: &pages,
                buffers: &self.buffers,
                control,
                dispatches: &dispatches,
                decision: uploads.decided().zip(self.decision.as_ref()),
            };
            let commands = inputs.commands(&mut self.compiler, &mut self.scratch)?;
            Ok((commands, uploads))
        });
        // After a failure half of what is kept may be invalid.
        let made = made.and_then(|made| made).inspect_err(|_| self.scratch.clear());
        made.map(|(commands, uploads)| Ready { commands, pages, uploads, first_step: None })
    }

    /// Compiles every kernel that steps of these groups can come to need, whatever is frozen,
    /// thawed, moved or set between them.
    pub(super) fn compile(&mut self, model: &Model, control: &Control) -> Result<(), Error> {
        let elements: u64 = model.params.iter().map(|param| param.len as u64).sum();
        let least_blocks = elements / BLOCK + model.params.len() as u64;
        let caller = (0..model.params.len()).any(|param| self.layout.places(param).is_some());
        let vec4 = self.compiler.best(Transport::Vec4);
        let transports = if caller { vec![vec4, Transport::Scalar] } else { vec![vec4] };
        let mut sums = control.decides();
        for kernel in 0..self.kernels.len() {
            let rule = self.kernels.rule(model, kernel);
            for pass in rule.passes() {
                for of_rule in variants(pass, &transports, caller, control, self.compiler.exchange)
                {
                    self.compiler.rule(kernel, of_rule, rule)?;
                }
            }
            if rule.passes().contains(&Pass::Sum) {
                sums = true;
                self.compiler.fixed(Fixed::AddUp(SumOf::Sums(rule.sums().len())))?;
            }
        }
        if control.decides() {
            for &transport in &transports {
                self.compiler.fixed(self.compiler.measure(transport))?;
            }
            self.compiler.fixed(Fixed::Gather)?;
            self.compiler.fixed(Fixed::Decide)?;
            self.compiler.fixed(Fixed::Grow)?;
        }
        if control.statistics {
            self.compiler.fixed(Fixed::AddUp(SumOf::Measures))?;
            self.compiler.fixed(Fixed::AddUp(SumOf::Sums(CHANGED_SUMS)))?;
        }
        if least_blocks > MOST_BY_HOST {
            self.compiler.fixed(Fixed::Table { tensors: sums })?;
        }
        Ok(())
    }

    /// A parameter's elements, or its gradient's.
    pub(super) fn parts(
        &self,
        model: &Model,
        param: usize,
        array: impl Fn(&Placement) -> &[Span],
    ) -> Result<Vec<Part<'_>>, Error> {
        self.check_place(model, param)?;
        let spans = array(&self.layout.params[param]);
        Ok(self.buffers.parts(spans, StateOf::default()))
    }

    /// A state's elements.
    pub(super) fn state_parts(&self, model: &Model, param: usize, state: usize) -> Vec<Part<'_>> {
        let kernel = self.kernels.of(model.params[param].group);
        let spans = &self.layout.params[param].states;
        self.buffers.parts(spans, StateOf { kernel, state })
    }

    /// Where the caller keeps a parameter, as the layout counts its buffers.
    pub(super) fn take_place(&mut self, place: &Place) -> [placement::Place; 2] {
        [0, 1].map(|array| {
            let slice = &place.slices[array];
            let buffer = self.buffers.caller.take(&slice.buffer);
            placement::Place { buffer, offset: slice.offset }
        })
    }

    /// The caller's buffers of these places have two arrays fewer.
    pub(super) fn release_place(&mut self, places: Option<[placement::Place; 2]>) {
        for place in places.into_iter().flatten() {
            self.buffers.caller.release(place.buffer);
        }
    }

    /// Lays out parameters and creates what is new.
    fn grow(
        &mut self,
        model: &Model,
        control: &Control,
        places: &[Option<[placement::Place; 2]>],
    ) -> Result<(), Error> {
        let first = model.params.len() - places.len();
        let mut kernels = self.kernels.clone();
        kernels.extend(model);
        let of_param = |index: usize| ParamSpec {
            name: model.name(index).to_owned(),
            len: model.params[index].len as u64,
            kernel: kernels.of(model.params[index].group),
            places: places[index - first],
        };
        let specs: Vec<_> = (first..model.params.len()).map(of_param).collect();
        let sizes = |buffer| self.buffers.caller.size(buffer);
        let layout = self.layout.with(&specs, sizes, kernels.len())?;
        let mut buffers = self.buffers.clone();
        let old_kernels = std::mem::replace(&mut self.kernels, kernels);
        let old_layout = std::mem::replace(&mut self.layout, layout);
        let compiled = self.compile(model, control);
        let grown = compiled.and_then(|()| {
            guarded(&self.device, "creating states", || {
                buffers.extend(&self.device, &self.layout, model, &self.kernels);
            })
        });
        let grown = grown.map_err(|error| match error {
            Error::OutOfMemory { during, .. } => {
                Error::OutOfMemory { during, needed: buffers.needs(model, &self.kernels) }
            }
            error => error,
        });
        match grown {
            Ok(()) => self.buffers = buffers,
            Err(_) => (self.kernels, self.layout) = (old_kernels, old_layout),
        }
        grown
    }
}

/// The kernels of a rule's pass.
fn variants(
    pass: Pass,
    transports: &[Transport],
    caller: bool,
    control: &Control,
    exchange: Exchange,
) -> Vec<RuleKernel> {
    let (extras, clamp) = (Extras::of(control, exchange), control.clip_value.is_some());
    let mut kernels = Vec::new();
    for &transport in transports {
        for slots in Slots::ALL {
            match pass {
                Pass::Sum => kernels.push(RuleKernel::Sum { transport, slots, clamp, exchange }),
                Pass::Update => {
                    // The arena has parameters and gradients in buffers of their own.
                    let shared = if caller { &[false, true][..] } else { &[false] };
                    let update = |&shared| RuleKernel::Update { transport, slots, shared, extras };
                    kernels.extend(shared.iter().map(update));
                }
            }
        }
    }
    kernels
}

impl Sealed for Gpu {}

impl Engine for Gpu {
    type Element = f32;
    type Place = Place;
    type Setup = Option<wgpu::PipelineCache>;

    fn extend(
        &mut self,
        model: &Model,
        control: &Control,
        first_group: usize,
        places: Vec<Option<Place>>,
    ) -> Result<(), Error> {
        let limits = self.compiler.limits;
        limits.check()?;
        for group in &model.groups[first_group..] {
            check_slot(group.rule.as_ref(), &limits)?;
            if control.decides() {
                group.rule.record(&mut Program::default())?;
            }
        }
        let first = model.params.len() - places.len();
        for (param, place) in (first..).zip(&places) {
            let Some(place) = place else { continue };
            place.check(model.name(param), model.params[param].len, &mut self.probe)?;
        }
        let taken: Vec<_> =
            places.iter().map(|place| Some(self.take_place(place.as_ref()?))).collect();
        let grown = self.grow(model, control, &taken);
        match grown {
            Ok(()) => self.changed(),
            Err(_) => taken.into_iter().for_each(|places| self.release_place(places)),
        }
        grown
    }

    fn changed(&mut self) {
        if let Some(Ready { pages, uploads, .. }) = self.ready.take() {
            self.uploads = Some((pages, uploads));
        }
    }

    fn check_place(&self, model: &Model, param: usize) -> Result<(), Error> {
        if self.layout.has_place(param) {
            return Ok(());
        }
        Err(Error::parameter(
            model.name(param),
            "a parameter that has buffers",
            "one whose buffers were removed",
            "Call `set_buffers` first",
        ))
    }

    fn write(
        &mut self,
        model: &Model,
        param: usize,
        array: Array,
        values: &[f32],
    ) -> Result<(), Error> {
        let parts = match array {
            Array::Param => self.parts(model, param, |placement| &placement.params)?,
            Array::Grad => self.parts(model, param, |placement| &placement.grads)?,
            Array::State(state) => self.state_parts(model, param, state),
        };
        let name = model.name(param);
        let usage = |part: &Part<'_>| check_usage(name, part.buffer, wgpu::BufferUsages::COPY_DST);
        parts.iter().try_for_each(usage)?;
        write(&self.device, &self.queue, name, &parts, values)
    }
}
