//! The optimizer on the GPU: the only rooms of the crate that name wgpu.

mod buffers;
mod builder;
mod coefficients;
mod commands;
mod kernel;
mod readback;
mod tables;

pub use builder::{Builder, Param};
pub use readback::Readback;

use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::groups::Groups;
use crate::layout::Layout;
use crate::values::Values;
use buffers::{Buffers, Part, StateOf};
use coefficients::Coefficients;
use kernel::Recorded;

/// A fused optimizer: updates all parameters of a model in a few dispatches, recorded into commands
/// of yours.
///
/// It owns its states; parameters and gradients stay in your buffers ([`Param::buffers`]) or live in
/// an arena of its own. After [`Builder::build`] it creates nothing on the GPU, never submits, polls or
/// waits, except where a method says so.
///
/// What is recorded must be submitted: the optimizer counts a step when it records it. Steps recorded
/// one after another take effect in the order of their submission, each with the learning rate it
/// was recorded with, however many share a submission.
#[derive(Debug)]
pub struct Optimizer {
    device: wgpu::Device,
    queue: wgpu::Queue,
    groups: Groups,
    /// The kernel of each group.
    kernel_of_group: Vec<usize>,
    layout: Layout,
    buffers: Buffers,
    recorded: Vec<Recorded>,
    coefficients: Coefficients,
}

impl Optimizer {
    /// Starts an optimizer; add groups, then build it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Records one step, in a compute pass of its own.
    ///
    /// It reads the gradients as they are when the commands run.
    ///
    /// # Errors
    /// The device could not create room for more unfinished steps than ever before. Nothing is
    /// recorded then, and no step counted.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let descriptor =
            wgpu::ComputePassDescriptor { label: Some("wgpu-optim step"), timestamp_writes: None };
        self.step_in_pass(&mut encoder.begin_compute_pass(&descriptor))
    }

    /// Records one step into a compute pass of yours; it leaves its pipeline and bind groups 0 and 1
    /// set.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_in_pass(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        let slot = self.coefficients.upload(&self.device, &self.queue, &mut self.groups)?;
        // The slot is free again when the commands have run, or were dropped without running.
        let in_use = slot.in_use;
        pass.on_submitted_work_done(move || drop(in_use));
        for dispatch in &self.recorded {
            dispatch.record(pass, &self.coefficients, slot.index);
        }
        Ok(())
    }

    /// Where a parameter lies: one slice, or more for a parameter of the arena that no single buffer
    /// can hold.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn param(&self, name: &str) -> Result<Vec<wgpu::BufferSlice<'_>>, Error> {
        let param = self.groups.find(name)?;
        Ok(self.param_parts(param).iter().map(Part::slice).collect())
    }

    /// Where a parameter's gradient lies; as [`Self::param`].
    ///
    /// # Errors
    /// The name is unknown.
    pub fn grad(&self, name: &str) -> Result<Vec<wgpu::BufferSlice<'_>>, Error> {
        let param = self.groups.find(name)?;
        Ok(self.grad_parts(param).iter().map(Part::slice).collect())
    }

    /// Sets a parameter's elements, before the commands of the next submission.
    ///
    /// # Errors
    /// The name is unknown, the number of values is wrong, or your buffer lacks `COPY_DST`.
    pub fn set_param(&self, name: &str, values: &(impl Values<f32> + ?Sized)) -> Result<(), Error> {
        let param = self.groups.find(name)?;
        self.write(param, &self.param_parts(param), values)
    }

    /// Sets a gradient's elements, before the commands of the next submission: submit one step
    /// before setting the gradients of another.
    ///
    /// # Errors
    /// The name is unknown, the number of values is wrong, or your buffer lacks `COPY_DST`.
    pub fn set_grad(&self, name: &str, values: &(impl Values<f32> + ?Sized)) -> Result<(), Error> {
        let param = self.groups.find(name)?;
        self.write(param, &self.grad_parts(param), values)
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
    /// The name is unknown, your buffer lacks `COPY_SRC`, or there is no memory for the copy.
    pub fn read_param(&self, name: &str) -> Result<Readback, Error> {
        let param = self.groups.find(name)?;
        self.read(param, &self.param_parts(param))
    }

    /// Reads a gradient back; as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`].
    pub fn read_grad(&self, name: &str) -> Result<Readback, Error> {
        let param = self.groups.find(name)?;
        self.read(param, &self.grad_parts(param))
    }

    /// Reads a state back, by PyTorch's name for it; as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`]; or the rule's options leave the state unused.
    pub fn read_state(&self, name: &str, state: &str) -> Result<Readback, Error> {
        let param = self.groups.find(name)?;
        self.read(param, &self.state_parts(param, state)?)
    }

    /// The number of groups, which are counted from 0 in the order they were added.
    pub fn groups(&self) -> usize {
        self.groups.groups.len()
    }

    /// The rule of a group, with its present hyperparameters.
    ///
    /// # Errors
    /// There is no such group.
    pub fn rule(&self, group: usize) -> Result<&dyn DynRule, Error> {
        Ok(self.groups.get(group)?.rule.as_ref())
    }

    /// Steps recorded for a group.
    ///
    /// # Errors
    /// There is no such group.
    pub fn steps(&self, group: usize) -> Result<u64, Error> {
        Ok(self.groups.get(group)?.steps)
    }

    /// Changes a group's learning rate from the next recorded step on. Nothing is recompiled.
    ///
    /// # Errors
    /// There is no such group, or the rate is out of range.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        self.groups.set_lr(group, lr)
    }

    /// Changes a group's hyperparameters from the next recorded step on. Nothing is recompiled.
    ///
    /// # Errors
    /// There is no such group, the rule or its options are others, or a value is out of range.
    pub fn set_rule(
        &mut self,
        group: usize,
        rule: impl Into<Box<dyn DynRule>>,
    ) -> Result<(), Error> {
        self.groups.set_rule(group, rule.into())
    }

    /// Dispatches in a step.
    pub fn dispatches(&self) -> usize {
        self.recorded.len()
    }

    /// A state's elements.
    fn state_parts(&self, param: usize, state: &str) -> Result<Vec<Part<'_>>, Error> {
        let state = self.groups.find_state(param, state)?;
        let kernel = self.kernel_of_group[self.groups.params[param].group];
        let runs = &self.layout.segments[param].states;
        Ok(self.buffers.parts(runs, StateOf { kernel, state }))
    }

    fn param_parts(&self, param: usize) -> Vec<Part<'_>> {
        self.buffers.parts(&self.layout.segments[param].params, StateOf::default())
    }

    fn grad_parts(&self, param: usize) -> Vec<Part<'_>> {
        self.buffers.parts(&self.layout.segments[param].grads, StateOf::default())
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
        Readback::start(&self.device, &self.queue, parts)
    }

    /// Refuses a caller's buffer that was made without a usage that is needed.
    fn check_usage(
        &self,
        param: usize,
        parts: &[Part<'_>],
        needed: wgpu::BufferUsages,
    ) -> Result<(), Error> {
        let name = &self.groups.params[param].name;
        parts.iter().try_for_each(|part| builder::check_usage(name, part.buffer, needed))
    }
}
