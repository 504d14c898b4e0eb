//! Recording a step in parts.

use crate::control::Control;
use crate::error::Error;
use crate::gpu::commands::{Commands, Inputs};
use crate::gpu::engine::{Gpu, Ready};
use crate::gpu::guard::guarded;
use crate::gpu::parts::Open;
use crate::gpu::zeroing::frozen;
use crate::layout::plan::plan_of;
use crate::model::{Model, ParamKey};
use crate::open_step::OpenStep;
use crate::optimizer::Optimizer;

impl Optimizer<Gpu> {
    /// Begins a step that is recorded in parts, each as soon as its gradients are there:
    ///
    /// ```no_run
    /// # use wgpu_optim::wgpu::{CommandEncoder, Device, Queue};
    /// # fn backward(_: &mut CommandEncoder, _: usize) -> [&'static str; 2] { ["w", "b"] }
    /// # fn example(optimizer: &mut wgpu_optim::Optimizer, device: &Device, queue: &Queue)
    /// #     -> Result<(), wgpu_optim::Error> {
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let mut step = optimizer.begin_step()?;
    /// for layer in (0..12).rev() {
    ///     let names = backward(&mut encoder, layer); // writes their gradients
    ///     step.params(&mut encoder, names)?; // after which their memory is the next layer's
    /// }
    /// step.end()?;
    /// drop(step);
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Builder::shared_grads`](crate::Builder::shared_grads) lets gradients be in one memory. The
    /// parts may be in one command encoder or in several, submitted in any order.
    ///
    /// # Errors
    /// The optimizer was built with something that must know all gradients first (clipping by a
    /// norm, [`grad_scaler`](crate::Builder::grad_scaler),
    /// [`skip_non_finite`](crate::Builder::skip_non_finite),
    /// [`statistics`](crate::Builder::statistics)), or as [`Self::step`]. No step is counted then.
    pub fn begin_step(&mut self) -> Result<OpenStep<'_, Gpu>, Error> {
        OpenStep::begin(self, |optimizer| {
            let Optimizer { model, control, engine, .. } = optimizer;
            engine.prepare(model, control)?;
            let known = engine.arrived();
            let Gpu { device, queue, ready, request, unfinished, .. } = engine;
            let Some(Ready { pages, uploads, .. }) = ready else { return Err(not_ready()) };
            let slot = uploads.upload(device, queue, model, control, pages, (request, known))?;
            let (number, unfinished) = (model.recorded(), unfinished.clone());
            Ok(Open { slot, number, dispatches: 0, unfinished })
        })
    }
}

impl OpenStep<'_, Gpu> {
    /// Records the step of these parameters, in a compute pass of its own. It reads their gradients
    /// as they are when the commands run; what is recorded after it may overwrite them.
    ///
    /// The first time that a step has this part, its tables and bind groups are created; nothing is
    /// compiled. Parts cost the least where they are the same in each step.
    ///
    /// What is recorded must be submitted, as a whole step. Where a part's commands are dropped,
    /// its parameters alone miss the step, although it was counted; [`Optimizer::set_steps`] sets
    /// that right.
    ///
    /// # Errors
    /// A parameter is unknown, named twice, left out or stepped already; two gradients of this part
    /// share memory; the device was lost or could not create what is needed. Nothing is recorded
    /// then.
    pub fn params(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<(), Error> {
        let params = self.prepared(params)?;
        let descriptor = wgpu::ComputePassDescriptor {
            label: Some("wgpu-optim part of a step"),
            timestamp_writes: None,
        };
        self.record(&mut encoder.begin_compute_pass(&descriptor), &params)
    }

    /// The same into a compute pass of yours; its pipeline and bind groups 0 and 1 stay set.
    ///
    /// # Errors
    /// As [`Self::params`].
    pub fn params_in_pass(
        &mut self,
        pass: &mut wgpu::ComputePass<'_>,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<(), Error> {
        let params = self.prepared(params)?;
        self.record(pass, &params)
    }

    /// Dispatches recorded so far.
    pub fn dispatches(&self) -> usize {
        self.open.dispatches
    }

    /// The parameters of a part, whose commands are ready.
    fn prepared(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<Vec<usize>, Error> {
        let params = self.turn_of(params)?;
        let Optimizer { model, control, engine, .. } = &mut *self.optimizer;
        engine.prepare_part(model, control, &params)?;
        Ok(params)
    }

    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>, params: &[usize]) -> Result<(), Error> {
        let Some(Ready { uploads, parts, .. }) = &mut self.optimizer.engine.ready else {
            return Err(not_ready());
        };
        let part = parts.get_mut(params).ok_or_else(not_ready)?;
        part.record(pass, uploads, &mut self.open);
        self.stepped(params);
        Ok(())
    }
}

impl Gpu {
    /// Refuses a whole step where gradients share memory.
    pub(super) fn check_whole(&self) -> Result<(), Error> {
        if !self.layout.shares_grads() {
            return Ok(());
        }
        Err(Error::Setting {
            expected:
                "an optimizer that was built without `shared_grads`: a whole step would find \
                       all gradients but the last ones overwritten"
                    .into(),
            remedy: "Step in parts, by `begin_step`, or give each gradient memory of its own"
                .into(),
        })
    }

    /// Makes a part of the open step ready to be recorded, unless it is.
    fn prepare_part(
        &mut self,
        model: &Model,
        control: &Control,
        params: &[usize],
    ) -> Result<(), Error> {
        let Some(Ready { parts, .. }) = &mut self.ready else { return Err(not_ready()) };
        if parts.get_mut(params).is_some() {
            return Ok(());
        }
        let commands = self.part_commands(model, control, params)?;
        let Some(Ready { parts, .. }) = &mut self.ready else { return Err(not_ready()) };
        parts.insert(params.to_vec(), commands, model.params.len());
        Ok(())
    }

    fn part_commands(
        &mut self,
        model: &Model,
        control: &Control,
        params: &[usize],
    ) -> Result<Commands, Error> {
        let Self { device, kernels, layout, buffers, compiler, scratch, ready, .. } = self;
        let Some(Ready { pages, .. }) = ready else { return Err(not_ready()) };
        layout.check_together(params)?;
        let limits = compiler.limits;
        let slot = |&param: &usize| Some((param, pages.of_count[model.params[param].count]?));
        let dispatches = plan_of(layout, params.iter().filter_map(slot).collect(), &limits);
        let zeroed = match control.zero_grad {
            true => frozen(model, layout, params.iter().copied(), &limits),
            false => Vec::new(),
        };
        let (dispatches, zeroed) = (&dispatches[..], &zeroed[..]);
        let decision = None;
        let inputs =
            Inputs { model, kernels, pages, buffers, control, dispatches, zeroed, decision };
        let made =
            guarded(device, "preparing a part of a step", || inputs.commands(compiler, scratch));
        // After a failure half of what is kept may be invalid.
        made.and_then(|made| made).inspect_err(|_| scratch.clear())
    }
}

/// A mistake of this crate's: an open step is ready, and so is a part before it is recorded.
fn not_ready() -> Error {
    Error::device("recording a part of a step", "it is not ready; please report this")
}
