//! The optimizer on the GPU: the only rooms of the crate that name wgpu.

mod blocks;
mod buffers;
mod builder;
mod change;
mod coefficients;
mod commands;
mod decision;
mod guard;
mod kernel;
mod param;
mod readback;
mod ring;
mod scratch;
mod tables;

pub use builder::Builder;
pub use param::Param;
pub use readback::Readback;

use crate::control::{Control, Scale};
use crate::error::Error;
use crate::format::ELEMENT_BYTES;
use crate::groups::Groups;
use crate::kernels::Kernels;
use crate::layout::{Layout, Run, Segment};
use crate::pages::Pages;
use crate::statistics::{self, Statistics};
use crate::values::Values;
use buffers::{Buffers, Part, StateOf};
use coefficients::Coefficients;
use commands::Commands;
use decision::Decision;
use guard::guarded;
use kernel::Compiler;
use scratch::Scratch;

/// A fused optimizer: updates all parameters of a model in a few dispatches, recorded into commands
/// of yours.
///
/// It owns its states; parameters and gradients stay in your buffers ([`Param::buffers`]) or live in
/// an arena of its own. After [`Builder::build`] it creates nothing on the GPU, never submits, polls or
/// waits, except where a method says so, and in the first step after something moved, was added or frozen, which
/// makes the tables that its kernels read. Beyond about 4 million elements the GPU writes those tables, in a submission of
/// their own.
///
/// What is recorded must be submitted: the optimizer counts a step when it records it. Steps recorded
/// one after another take effect in the order of their submission, each with the learning rate it
/// was recorded with, however many share a submission.
#[derive(Debug)]
pub struct Optimizer {
    device: wgpu::Device,
    queue: wgpu::Queue,
    control: Control,
    groups: Groups,
    kernels: Kernels,
    /// As the caller described them.
    params: Vec<Param>,
    layout: Layout,
    buffers: Buffers,
    compiler: Compiler,
    scratch: Scratch,
    /// Where the GPU decides on steps.
    decision: Option<Decision>,
    /// `None` if something changed since the last step.
    ready: Option<Commands>,
    /// Kept while its pages stay the same.
    coefficients: Option<(Pages, Coefficients)>,
}

impl Optimizer {
    /// Starts an optimizer; add groups, then build it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// An optimizer without parameters.
    fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        control: Control,
        cache: Option<wgpu::PipelineCache>,
    ) -> Result<Self, Error> {
        let layout = Layout::new(&[], &[], 0, device.limits().max_buffer_size)?;
        guarded(device, "building the optimizer", || {
            let scale = Scale::new(&control);
            let decision = control.decides().then(|| Decision::new(device, queue, &scale, 0));
            Self {
                device: device.clone(),
                queue: queue.clone(),
                control,
                groups: Groups::default(),
                kernels: Kernels::default(),
                params: Vec::new(),
                layout,
                buffers: Buffers::default(),
                compiler: Compiler::new(device, cache),
                scratch: Scratch::default(),
                decision,
                ready: None,
                coefficients: None,
            }
        })
    }

    /// Records one step, in a compute pass of its own.
    ///
    /// It reads the gradients as they are when the commands run.
    ///
    /// # Errors
    /// The device could not create what is needed: room for more unfinished steps than ever before, or,
    /// where parameters were added, moved or frozen, the commands for it. Nothing is recorded then, and no
    /// step counted.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.prepare()?;
        if let Some(decision) = &self.decision {
            decision.copy_outgrown(encoder);
        }
        let descriptor =
            wgpu::ComputePassDescriptor { label: Some("wgpu-optim step"), timestamp_writes: None };
        self.record(&mut encoder.begin_compute_pass(&descriptor))?;
        if let Some(decision) = &mut self.decision {
            decision.forget_outgrown();
        }
        Ok(())
    }

    /// Records one step into a compute pass of yours; it leaves its pipeline and bind groups 0 and 1
    /// set.
    ///
    /// # Errors
    /// As [`Self::step`]; or the GPU counts steps, and so many parameters were added or frozen that their
    /// counts need more room, which only [`Self::step`] can make.
    pub fn step_in_pass(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        self.prepare()?;
        if self.decision.as_ref().is_some_and(|decision| decision.outgrown().is_some()) {
            return Err(Error::Setting {
                expected: "the first step after parameters were added or frozen to be recorded by \
                           `step`, which copies their step counts to a larger buffer"
                    .into(),
                remedy: "Record this one step by `step`; later ones may be recorded in passes"
                    .into(),
            });
        }
        self.record(pass)
    }

    /// Records what [`Self::prepare`] made ready.
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        let (Some(commands), Some((pages, coefficients))) = (&self.ready, &mut self.coefficients)
        else {
            return Ok(());
        };
        let (groups, control) = (&mut self.groups, &self.control);
        let slot = coefficients.upload(&self.device, &self.queue, groups, control, pages)?;
        let mut last = None;
        for dispatch in &commands.recorded {
            dispatch.record(pass, coefficients, &slot, last);
            last = Some(dispatch);
        }
        // The slot is free again when the commands have run, or were dropped without running.
        let in_use = slot.in_use;
        pass.on_submitted_work_done(move || drop(in_use));
        Ok(())
    }

    /// Where a parameter lies: one slice, or more for a parameter of the arena that no single buffer
    /// can hold.
    ///
    /// # Errors
    /// The name is unknown, or the parameter's buffers were removed.
    pub fn param(&self, name: &str) -> Result<Vec<wgpu::BufferSlice<'_>>, Error> {
        let (_, parts) = self.param_parts(name)?;
        Ok(parts.iter().map(Part::slice).collect())
    }

    /// Where a parameter's gradient lies; as [`Self::param`].
    ///
    /// # Errors
    /// As [`Self::param`].
    pub fn grad(&self, name: &str) -> Result<Vec<wgpu::BufferSlice<'_>>, Error> {
        let (_, parts) = self.grad_parts(name)?;
        Ok(parts.iter().map(Part::slice).collect())
    }

    /// Sets a parameter's elements, before the commands of the next submission.
    ///
    /// # Errors
    /// The name is unknown, the number of values is wrong, your buffer lacks `COPY_DST`, or it was removed.
    pub fn set_param(&self, name: &str, values: &(impl Values<f32> + ?Sized)) -> Result<(), Error> {
        let (param, parts) = self.param_parts(name)?;
        self.write(param, &parts, values)
    }

    /// Sets a gradient's elements, before the commands of the next submission: submit one step
    /// before setting the gradients of another.
    ///
    /// # Errors
    /// The name is unknown, the number of values is wrong, your buffer lacks `COPY_DST`, or it was removed.
    pub fn set_grad(&self, name: &str, values: &(impl Values<f32> + ?Sized)) -> Result<(), Error> {
        let (param, parts) = self.grad_parts(name)?;
        self.write(param, &parts, values)
    }

    /// Sets a state's elements, before the commands of the next submission.
    ///
    /// # Errors
    /// A name is unknown, the state is unused, or the number of values is wrong.
    pub fn set_state(
        &self,
        name: &str,
        state: &str,
        values: &(impl Values<f32> + ?Sized),
    ) -> Result<(), Error> {
        let param = self.groups.find(name)?;
        self.write(param, &self.state_parts(param, state)?, values)
    }

    /// Reads a parameter back: copies it, in a submission of its own, after all submissions so far.
    ///
    /// # Errors
    /// The name is unknown, your buffer lacks `COPY_SRC` or was removed, or there is no memory for the copy.
    pub fn read_param(&self, name: &str) -> Result<Readback, Error> {
        let (param, parts) = self.param_parts(name)?;
        self.read(param, &parts)
    }

    /// Reads a gradient back; as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`].
    pub fn read_grad(&self, name: &str) -> Result<Readback, Error> {
        let (param, parts) = self.grad_parts(name)?;
        self.read(param, &parts)
    }

    /// Reads a state back, by PyTorch's name for it; as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`]; or the rule's options leave the state unused.
    pub fn read_state(&self, name: &str, state: &str) -> Result<Readback, Error> {
        let param = self.groups.find(name)?;
        self.read(param, &self.state_parts(param, state)?)
    }

    /// Reads what is known of the latest step: copies it, in a submission of its own, after all submissions so
    /// far. Norms of each parameter need [`Builder::statistics`], and are gone once parameters were frozen, added
    /// or moved, until the next step.
    ///
    /// # Errors
    /// The optimizer was built without anything that the GPU decides on: a norm to clip by, a scaler or
    /// statistics; or there is no memory for the copy.
    pub fn read_statistics(&self) -> Result<Readback<Statistics>, Error> {
        let Some(decision) = &self.decision else {
            return Err(Error::Setting {
                expected: "an optimizer that was built with `statistics`, `clip_grad_norm` or \
                           `grad_scaler`"
                    .into(),
                remedy: "Ask for one of them when the optimizer is built".into(),
            });
        };
        let commands = self.ready.as_ref();
        let blocks = commands.and_then(|commands| commands.blocks.as_ref());
        let source = |(index, param): (usize, &crate::groups::Param)| {
            let of = blocks.and_then(|blocks| blocks.of(index));
            statistics::Source {
                name: param.name.clone(),
                clock: param.clock,
                tensor: of.map(|(tensor, ..)| tensor),
                blocks: of.map(|(_, first, count)| (first, count)),
            }
        };
        let sources: Vec<_> = self.groups.params.iter().enumerate().map(source).collect();
        let watched = commands.and_then(|commands| commands.watched.as_ref());
        let mut buffers = vec![&decision.report, decision.counted()];
        buffers.extend(watched.iter().flat_map(|watched| [&watched.measures, &watched.changes]));
        let parts: Vec<_> = buffers.iter().map(|buffer| (*buffer, 0, buffer.size())).collect();
        Readback::start(&self.device, &self.queue, &parts, move |words| {
            let sums = match &words[2..] {
                [measures, changes] => Some([measures.as_slice(), changes]),
                _ => None,
            };
            statistics::decode(&words[0], &words[1], sums, &sources)
        })
    }

    /// Steps recorded for a parameter while it was not frozen. Where steps may be skipped, this counts
    /// skipped ones too; the GPU knows better.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn steps(&self, name: &str) -> Result<u64, Error> {
        let param = &self.groups.params[self.groups.find(name)?];
        Ok(self.groups.clocks[param.clock].steps)
    }

    /// Sets the number of steps that a parameter has behind it, as when a run is resumed.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn set_steps(&mut self, name: &str, steps: u64) -> Result<(), Error> {
        let param = self.groups.find(name)?;
        self.groups.set_steps(param, steps);
        self.ready = None;
        Ok(())
    }

    crate::twins::optimizer_methods!();

    /// Records that all gradients are zeroed, those of frozen parameters too. [`Builder::zero_grad`] does it
    /// within the step, for less.
    ///
    /// # Errors
    /// Your gradient buffers lack `COPY_DST`. Nothing is recorded then.
    pub fn zero_grad(&self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let parts: Vec<_> = self
            .layout
            .segments
            .iter()
            .map(|segment| self.buffers.parts(&segment.grads, StateOf::default()))
            .collect();
        for (param, parts) in parts.iter().enumerate() {
            self.check_usage(param, parts, wgpu::BufferUsages::COPY_DST)?;
        }
        let mut last: Option<(&wgpu::Buffer, u64, u64)> = None;
        let mut clear = |(buffer, start, end): (&wgpu::Buffer, u64, u64)| {
            encoder.clear_buffer(buffer, start, Some(end - start));
        };
        for Part { buffer, run } in parts.into_iter().flatten() {
            let end = run.offset + run.len * ELEMENT_BYTES;
            last = match last {
                // Neighbours are cleared together; between those of the arena is only padding.
                Some((same, start, before))
                    if same == buffer
                        && (before == run.offset
                            || (run.buffer.is_owned() && before < run.offset)) =>
                {
                    Some((buffer, start, end))
                }
                other => {
                    other.into_iter().for_each(&mut clear);
                    Some((buffer, run.offset, end))
                }
            };
        }
        last.into_iter().for_each(clear);
        Ok(())
    }

    /// The loss scale, an f32 at the start of a buffer of 16 bytes that can be bound as a uniform or as
    /// storage: multiply the loss by it. Steps change it when they run.
    ///
    /// # Errors
    /// The optimizer was built without [`Builder::grad_scaler`].
    pub fn loss_scale(&self) -> Result<&wgpu::Buffer, Error> {
        self.control.scaler()?;
        match &self.decision {
            Some(decision) => Ok(&decision.scale),
            None => Err(Error::device("finding the loss scale", "it has no buffer")),
        }
    }

    /// Dispatches in a step.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.prepare()?;
        Ok(self.ready.as_ref().map_or(0, |commands| commands.recorded.len()))
    }

    /// A state's elements.
    fn state_parts(&self, param: usize, state: &str) -> Result<Vec<Part<'_>>, Error> {
        let state = self.groups.find_state(param, state)?;
        let kernel = self.kernels.of(self.groups.params[param].group);
        let runs = &self.layout.segments[param].states;
        Ok(self.buffers.parts(runs, StateOf { kernel, state }))
    }

    /// A parameter's index, and its elements.
    fn param_parts(&self, name: &str) -> Result<(usize, Vec<Part<'_>>), Error> {
        self.parts(name, |segment| &segment.params)
    }

    /// A parameter's index, and its gradient's elements.
    fn grad_parts(&self, name: &str) -> Result<(usize, Vec<Part<'_>>), Error> {
        self.parts(name, |segment| &segment.grads)
    }

    fn parts(
        &self,
        name: &str,
        array: impl Fn(&Segment) -> &[Run],
    ) -> Result<(usize, Vec<Part<'_>>), Error> {
        let param = self.groups.find(name)?;
        self.check_place(param)?;
        let runs = array(&self.layout.segments[param]);
        Ok((param, self.buffers.parts(runs, StateOf::default())))
    }

    fn write(
        &self,
        param: usize,
        parts: &[Part<'_>],
        values: &(impl Values<f32> + ?Sized),
    ) -> Result<(), Error> {
        let values = values.values();
        self.groups.check_len(param, values.len())?;
        self.check_usage(param, parts, wgpu::BufferUsages::COPY_DST)?;
        for Part { buffer, run } in parts {
            let range = run.first as usize..(run.first + run.len) as usize;
            self.queue.write_buffer(buffer, run.offset, bytemuck::cast_slice(&values[range]));
        }
        Ok(())
    }

    fn read(&self, param: usize, parts: &[Part<'_>]) -> Result<Readback, Error> {
        self.check_usage(param, parts, wgpu::BufferUsages::COPY_SRC)?;
        let parts: Vec<_> = parts.iter().map(Part::source).collect();
        let floats = |words: Vec<Vec<u32>>| {
            words.iter().flatten().copied().map(f32::from_bits).collect::<Vec<f32>>()
        };
        Readback::start(&self.device, &self.queue, &parts, floats)
    }

    /// Refuses a caller's buffer that was made without a usage that is needed.
    fn check_usage(
        &self,
        param: usize,
        parts: &[Part<'_>],
        needed: wgpu::BufferUsages,
    ) -> Result<(), Error> {
        let name = &self.groups.params[param].name;
        parts.iter().try_for_each(|part| guard::check_usage(name, part.buffer, needed))
    }
}
