//! Recording a step.

use crate::error::Error;
use crate::gpu::engine::{Gpu, Ready};
use crate::optimizer::Optimizer;
use std::sync::atomic::Ordering;

impl Optimizer<Gpu> {
    /// Records one step, in a compute pass of its own.
    ///
    /// It reads the gradients as they are when the commands run. What is recorded must be
    /// submitted: the optimizer counts a step when it records it.
    ///
    /// # Errors
    /// The device was lost, or could not create what is needed: room for more unfinished steps than
    /// ever before, or, where parameters were added, moved or frozen, the tables and bind groups
    /// for it. Or a parameter has taken 2³² − 1 steps already; see [`Self::set_steps`]. Nothing is
    /// recorded then, and no step counted.
    ///
    /// What wgpu finds only when commands are finished or submitted, it tells in those calls of
    /// yours, to the device's error handler, which panics unless you set one: an encoder of another
    /// device, at `finish`; a buffer that is mapped or destroyed at `submit`. None of these
    /// commands run then. The step was counted nevertheless, unless the GPU counts
    /// ([`skip_non_finite`](crate::Builder::skip_non_finite),
    /// [`grad_scaler`](crate::Builder::grad_scaler)); [`Optimizer::set_steps`] sets that right.
    /// Commands of a device that was lost vanish in silence; the next step is refused.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        self.engine.check_whole()?;
        self.engine.prepare(&self.model, &self.control)?;
        let descriptor =
            wgpu::ComputePassDescriptor { label: Some("wgpu-optim step"), timestamp_writes: None };
        self.step_in_pass(&mut encoder.begin_compute_pass(&descriptor))
    }

    /// Records one step into a compute pass of yours; its pipeline and bind groups 0 and 1 stay
    /// set.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_in_pass(&mut self, pass: &mut wgpu::ComputePass<'_>) -> Result<(), Error> {
        self.engine.check_whole()?;
        self.engine.prepare(&self.model, &self.control)?;
        let known = self.engine.arrived();
        let Gpu { device, queue, ready, request, arrived, unfinished, .. } = &mut self.engine;
        let Some(Ready { commands, pages, uploads, first_step, .. }) = ready else {
            return Err(Error::device("recording a step", "it is not ready"));
        };
        let (model, control) = (&mut self.model, &self.control);
        let slot = uploads.upload(device, queue, model, control, pages, (request, known))?;
        let number = self.model.recorded();
        let first = *first_step.get_or_insert(number);
        // Commands may be dropped, or submitted in another order: the tables are written again
        // until a step that wrote them is known to have run.
        commands.record(pass, uploads, &slot, known >= first);
        // The slot is free again when the commands have run, or were dropped without running.
        let (marks, arrived) = ((slot.in_use, unfinished.clone()), arrived.clone());
        pass.on_submitted_work_done(move || {
            arrived.fetch_max(number, Ordering::AcqRel);
            drop(marks);
        });
        Ok(())
    }

    /// Dispatches in a step.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.engine.check_whole()?;

        let ready = self.engine.prepare(&self.model, &self.control)?;
        Ok(ready.commands.recorded.len())
    }
}
