//! The engine on the GPU: what it keeps, how it grows, and how a step is made ready after a change.

use crate::control::{Control, Request, Scale};
use crate::error::Error;
use crate::gpu::blocks::MOST_BY_HOST;
use crate::gpu::buffers::{Buffers, Part, StateOf};
use crate::gpu::commands::{Commands, Inputs};
use crate::gpu::compile::Compiler;
use crate::gpu::decision::Decision;
use crate::gpu::guard::guarded;
use crate::gpu::parts::{Open, Parts};
use crate::gpu::place::Place;
use crate::gpu::probe::Probe;
use crate::gpu::scratch::Scratch;
use crate::gpu::uploads::Uploads;
use crate::gpu::write::{check_write, write};
use crate::gpu::zeroing::frozen;
use crate::layout::geometry::{BLOCK, Exchange, MANY_NARROW, Sharing, Transport};
use crate::layout::kernels::{Class, Kernels};
use crate::layout::pages::{Pages, Slots, check_slot};
use crate::layout::placement::{self, Layout, ParamSpec, Placement, Span, Totals};
use crate::layout::plan::plan;
use crate::model::{Codec, Formats, Member, Model};
use crate::optimizer::{Array, ArrayRange, Engine, Transfer, sealed::Sealed};
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
    pub(super) scratch: Scratch,
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
    /// Clones are held by the commands of steps that have not run yet.
    pub(super) unfinished: Arc<()>,
    /// The submission before last of those that hand over what was put.
    pub(super) handed_over: Option<wgpu::SubmissionIndex>,
}

/// What a builder hands over beside groups and settings.
#[derive(Debug, Default)]
pub struct Setup {
    pub(super) cache: Option<wgpu::PipelineCache>,
    /// Whether gradients may be in one memory, one after the other.
    pub(super) shared_grads: bool,
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
    /// What parts of a step record, as far as they were asked for.
    pub parts: Parts,
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
        Setup { cache, shared_grads }: Setup,
    ) -> Result<Self, Error> {
        guarded(device, "building the optimizer", || {
            let compiler = Compiler::new(device, cache);
            let scale = Scale::new(control);
            let decision = control.decides().then(|| Decision::new(device, queue, &scale));
            Self {
                device: device.clone(),
                queue: queue.clone(),
                kernels: Kernels::default(),
                layout: Layout::new(&compiler.limits).share_grads(shared_grads),
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
                unfinished: Arc::default(),
                handed_over: None,
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
        // Gradients that share memory are never there all at once: there are no whole steps then.
        let is_whole = !self.layout.shares_grads();
        let dispatches = if is_whole { plan(&self.layout, &slots, &limits) } else { Vec::new() };
        let zeroed = match control.zero_grad && is_whole {
            true => frozen(model, &self.layout, 0..model.params.len(), &limits),
            false => Vec::new(),
        };
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
                zeroed: &zeroed,
                decision: uploads.decided().zip(self.decision.as_ref()),
            };
            let commands = inputs.commands(&mut self.compiler, &mut self.scratch)?;
            Ok((commands, uploads))
        });
        // After a failure half of what is kept may be invalid.
        let made = made.and_then(|made| made).inspect_err(|_| self.scratch.clear());
        let parts = Parts::default();
        made.map(|(commands, uploads)| Ready { commands, pages, uploads, first_step: None, parts })
    }

    /// Compiles every kernel that steps of these groups can come to need, whatever is frozen,
    /// thawed, moved or set between them.
    pub(super) fn compile(&mut self, model: &Model, control: &Control) -> Result<(), Error> {
        let Totals { elements, short, has_callers: caller } = self.layout.totals();
        let least_blocks = elements / BLOCK + model.params.len() as u64;
        let vec4 = self.compiler.best(Transport::Vec4);
        let exchange = self.compiler.exchange;
        let narrow = short >= MANY_NARROW && !control.statistics;
        let mut sums = control.decides();
        for kernel in 0..self.kernels.len() {
            let rule = self.kernels.rule(model, kernel);
            for pass in rule.passes() {
                for (_, class) in self.kernels.classes().filter(|(of, _)| *of == kernel) {
                    let formats = class.formats;
                    let narrow = narrow && !formats.has_blocks();
                    let variants = Variants { formats, caller, control, exchange, narrow };
                    for of_rule in variants.of(pass, vec4) {
                        self.compiler.rule(kernel, of_rule, rule)?;
                    }
                }
            }
            for pass in rule.passes().into_iter().filter(|pass| *pass != Pass::Update) {
                sums = true;
                self.compiler.fixed(Fixed::AddUp(SumOf::Sums(rule.sums_of(pass).len())))?;
            }
        }
        if control.decides() {
            self.compiler.fixed(Fixed::Gather)?;
            self.compiler.fixed(Fixed::Decide)?;
            self.compiler.fixed(Fixed::Grow)?;
        }
        if control.statistics {
            self.compiler.fixed(Fixed::AddUp(SumOf::Measures))?;
            self.compiler.fixed(Fixed::AddUp(SumOf::Sums(CHANGED_SUMS)))?;
        }
        let mut averages = false;
        for (kernel, Class { formats, .. }) in self.kernels.classes() {
            let rule = self.kernels.rule(model, kernel);
            let average = rule.modifiers().and_then(|of| of.average).map(|_| rule.own().states());
            averages |= average.is_some();
            for transport in transports(&formats, caller, vec4) {
                if let Some(states) = &average {
                    let swap = self.compiler.swap(transport, formats, states.len());
                    self.compiler.fixed(swap)?;
                }
                if control.decides() {
                    self.compiler.fixed(self.compiler.measure(transport, formats.grad))?;
                }
                if control.zero_grad {
                    self.compiler.fixed(self.compiler.zero(transport, formats.grad))?;
                }
            }
        }
        if least_blocks > MOST_BY_HOST {
            let origins = self.kernels.classes().any(|(_, class)| class.formats.by_chance());
            self.compiler.fixed(Fixed::Table { tensors: sums, origins })?;
            if control.zero_grad || averages {
                self.compiler.fixed(Fixed::Table { tensors: false, origins: false })?;
            }
        }
        Ok(())
    }

    /// The elements of one of a parameter's arrays.
    pub(super) fn parts(
        &self,
        model: &Model,
        param: usize,
        array: Array,
    ) -> Result<Vec<Part<'_>>, Error> {
        let Class { index: class, formats } = self.layout.class(param);
        let Placement { params, grads, states } = &self.layout.params[param];
        let (spans, of, codec): (&[Span], _, _) = match array {
            Array::Param => (params, StateOf::default(), formats.param),
            Array::Grad => (grads, StateOf::default(), formats.grad),
            Array::State(state) => {
                (states, StateOf { class, state }, formats.states.as_slice()[state])
            }
        };
        if !matches!(array, Array::State(_)) {
            self.check_place(model, param)?;
        }
        Ok(self.buffers.parts(spans, of, codec))
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

    /// Lays out the parameters that are new, and creates what they need. The others cost nothing
    /// but the room that is left for more. If it fails, nothing has changed.
    fn grow(
        &mut self,
        model: &Model,
        control: &Control,
        places: &[Option<[placement::Place; 2]>],
    ) -> Result<(), Error> {
        let (kernels, layout) = (self.kernels.mark(), self.layout.mark());
        let buffers = self.buffers.mark();
        let laid_out = self.lay_out(model, places);
        let compiled = laid_out.and_then(|()| self.compile(model, control));
        let first = model.params.len() - places.len();
        let grown = compiled.and_then(|()| {
            guarded(&self.device, "creating states", || {
                self.buffers.extend(&self.device, &self.layout, model, &self.kernels);
                self.buffers.fill_room(&self.queue, &self.layout, model, (first, &buffers));
            })
        });
        let grown = grown.map_err(|error| match error {
            Error::OutOfMemory { during, .. } => {
                Error::OutOfMemory { during, needed: self.buffers.needs(model, &self.kernels) }
            }
            error => error,
        });
        if grown.is_err() {
            self.buffers.undo(&buffers);
            self.kernels.undo(kernels);
            self.layout.undo(layout);
            // Another rule may be the next to have such an index.
            self.compiler.forget_rules(self.kernels.len());
        }
        grown
    }

    /// Finds kernels and places for the parameters that are new.
    fn lay_out(
        &mut self,
        model: &Model,
        places: &[Option<[placement::Place; 2]>],
    ) -> Result<(), Error> {
        let first = model.params.len() - places.len();
        let Self { kernels, layout, .. } = self;
        kernels.extend(model);
        let of_param = |index: usize| ParamSpec {
            name: model.name(index).to_owned(),
            len: model.params[index].len as u64,
            kernel: kernels.of(model.params[index].group),
            class: kernels.class(index),
            places: places[index - first],
        };
        let specs: Vec<_> = (first..model.params.len()).map(of_param).collect();
        let sizes = |buffer| self.buffers.caller.size(buffer);
        let limits = self.compiler.limits;
        kernels.classes().try_for_each(|(_, class)| limits.check_formats(&class.formats))?;
        layout.extend(specs, sizes, kernels.classes().len())
    }
}

/// How kernels may come to reach elements.
fn transports(formats: &Formats, caller: bool, vec4: Transport) -> Vec<Transport> {
    let shared = caller && [formats.param, formats.grad].into_iter().any(Codec::is_half);
    let scalar = caller.then_some(Transport::Scalar);
    [Some(vec4), scalar, shared.then_some(Transport::Shared)].into_iter().flatten().collect()
}

/// What the kernels of a class depend on.
struct Variants<'a> {
    formats: Formats,
    /// Whether the caller keeps some parameters.
    caller: bool,
    control: &'a Control,
    exchange: Exchange,
    /// Whether many parameters are very short.
    narrow: bool,
}

impl Variants<'_> {
    /// How parameters and gradients may be in buffers, where elements are reached so. The arena has
    /// them in buffers of their own.
    fn sharings(&self, transport: Transport) -> impl Iterator<Item = Sharing> {
        let halves = [self.formats.param, self.formats.grad].map(Codec::is_half);
        let sharings = if self.caller { &Sharing::ALL[..] } else { &[Sharing::Apart] };
        sharings.iter().copied().filter(move |sharing| sharing.has_transport(transport, halves))
    }

    /// The kernels of a rule's pass.
    fn of(&self, pass: Pass, vec4: Transport) -> Vec<RuleKernel> {
        let Self { formats, caller, control, exchange, narrow } = *self;
        let (extras, clamp) = (Extras::of(control, exchange), control.clip_value.is_some());
        let mut kernels = Vec::new();
        for transport in transports(&formats, caller, vec4) {
            for slots in Slots::ALL {
                match pass {
                    Pass::Update => {
                        let narrow = if narrow { &[false, true][..] } else { &[false] };
                        kernels.extend(self.sharings(transport).flat_map(|sharing| {
                            narrow.iter().map(move |&narrow| RuleKernel::Update {
                                transport,
                                slots,
                                sharing,
                                extras,
                                formats,
                                narrow,
                            })
                        }));
                    }
                    pass => {
                        kernels.push(RuleKernel::Sum {
                            pass,
                            transport,
                            slots,
                            clamp,
                            exchange,
                            formats,
                        });
                    }
                }
            }
        }
        kernels
    }
}

impl Sealed for Gpu {}

impl Engine for Gpu {
    type Element = f32;
    type Place = Place;
    type Setup = Setup;
    type Open = Open;

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
            let Member { len, formats, .. } = &model.params[param];
            place.check(model.name(param), (*len, formats), &mut self.probe)?;
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
        let formats = model.params[param].formats;
        let kept = match (array, formats.kept()) {
            (Array::Param, Some(kept)) => Some(self.parts(model, param, Array::State(kept))?),
            _ => None,
        };
        let parts = self.parts(model, param, array)?;
        let name = model.name(param);
        parts.iter().try_for_each(|part| check_write(name, part))?;
        let Some(kept) = kept else {
            let bytes: Vec<_> = parts.iter().map(|part| part.encode(values)).collect();
            return write(&self.device, &self.queue, name, &parts, &bytes);
        };
        // Whoever writes a parameter writes what it stands for.
        let (values, rest): (Vec<_>, Vec<_>) = values.iter().map(|&x| formats.split(x, 0)).unzip();
        let bytes = parts.iter().map(|part| part.encode(&values));
        let bytes: Vec<_> = bytes.chain(kept.iter().map(|part| part.encode(&rest))).collect();
        write(&self.device, &self.queue, name, &[parts, kept].concat(), &bytes)
    }

    fn write_bytes(
        &mut self,
        model: &Model,
        param: usize,
        state: usize,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let elements = 0..model.params[param].len as u64;
        self.put(model, &ArrayRange { param, array: Array::State(state), elements }, bytes)
    }
}
