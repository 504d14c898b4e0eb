//! Building in a browser, which tells errors later: what `build` finds at once is awaited here.

use crate::error::Error;
use crate::gpu::build::check_downlevel;
use crate::gpu::compile::{BUILDING, Module, mistake};
use crate::gpu::engine::Gpu;
use crate::gpu::guard::{awaited, check_usage, told};
use crate::gpu::probe::{Probe, ask_queue};
use crate::optimizer::{Builder, Optimizer};

impl Builder<Gpu> {
    /// Checks everything, then creates states and bind groups, and compiles every pipeline that
    /// steps can come to need: `build`, to be awaited, as a browser tells errors later. It submits
    /// a copy of 4 bytes, to find out whether the queue is the device's own.
    ///
    /// Of a buffer that was destroyed a browser tells when commands that use it are submitted. Of
    /// what is wrong with buffers and rules that are given later (`add_group`, `set_buffers`) and
    /// of memory that is full then, it tells the device's error handler.
    ///
    /// # Errors
    /// A hyperparameter out of its range, a name given twice, a buffer without `STORAGE`, an offset
    /// or size that does not fit, ranges that overlap, a rule whose WGSL does not fit, a queue or a
    /// buffer of another device, a device that was lost, whose limits are too low or whose memory
    /// is full. A later build may succeed; the device is unharmed.
    pub async fn build_async(
        mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Optimizer<Gpu>, Error> {
        self.check()?;
        check_downlevel(&device.limits(), self.control.decides())?;
        ask_queue(device, queue).await?;
        self.ask_buffers(device).await?;
        let (built, error) = awaited(device, || self.built(device, queue)).await;
        let mut optimizer = built?;
        match error {
            None => {
                optimizer.engine.compiler.modules.clear();
                Ok(optimizer)
            }
            Some(error) => Err(optimizer.explained(error).await),
        }
    }

    /// Refuses buffers that cannot be bound, each once.
    async fn ask_buffers(&self, device: &wgpu::Device) -> Result<(), Error> {
        let probe = Probe::new(device);
        let mut asked = Vec::new();
        for param in self.groups.iter().flat_map(|group| &group.params) {
            for slice in param.place.iter().flat_map(|place| &place.slices) {
                if asked.contains(&&slice.buffer) {
                    continue;
                }
                check_usage(&param.name, &slice.buffer, wgpu::BufferUsages::STORAGE)?;
                probe.ask(&param.name, &slice.buffer).await?;
                asked.push(&slice.buffer);
            }
        }
        Ok(())
    }
}

impl Optimizer<Gpu> {
    /// Our error for what a browser told of this optimizer's building.
    async fn explained(&self, error: wgpu::Error) -> Error {
        let Gpu { device, buffers, kernels, compiler, .. } = &self.engine;
        for Module { module, shader, rule } in &compiler.modules {
            let rule = kernels.rule(&self.model, *rule);
            let info = module.get_compilation_info().await;
            if let Some(mistake) = mistake(rule, shader, &info) {
                return mistake;
            }
        }
        match told(device, BUILDING, error) {
            Error::OutOfMemory { during, .. } => {
                Error::OutOfMemory { during, needed: buffers.needs(&self.model, kernels) }
            }
            error => error,
        }
    }
}
