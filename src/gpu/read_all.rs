//! Reading much at once, as for a checkpoint: one submission, whatever the number of parameters.

use crate::control::StepSource;
use crate::error::Error;
use crate::gpu::buffers::{Part, Stored};
use crate::gpu::decision::Decision;
use crate::gpu::engine::Gpu;
use crate::gpu::readback::{Readback, words_of};
use crate::gpu::transfer::step_source;
use crate::model::ParamKey;
use crate::optimizer::{Array, Optimizer};

impl Optimizer<Gpu> {
    /// Reads the steps that each parameter has taken, in the order of [`Self::params`]: after all
    /// submissions so far, and without the steps that the GPU skipped. A run that
    /// [`set_steps`](Self::set_steps) resumes with these numbers is the same run.
    ///
    /// Nothing is copied or submitted where the host knows them all.
    ///
    /// # Errors
    /// There is no memory for the copy.
    pub fn read_steps(&self) -> Result<Readback<Vec<u64>>, Error> {
        let Gpu { device, queue, decision, request, .. } = &self.engine;
        let source = |param: usize| match self.model.steps(param) {
            Some(steps) => StepSource::Host(steps),
            None => step_source(&self.model, param),
        };
        let sources: Vec<_> = (0..self.model.params.len()).map(source).collect();
        let on_device = sources.iter().any(|source| matches!(source, StepSource::Device(_)));
        let counts = decision.iter().filter(|_| on_device).flat_map(Decision::counted);
        let parts: Vec<_> = counts.map(|counts| (counts, 0, counts.size())).collect();
        let pending = request.pending();
        Readback::start(device, queue, &parts, move |bytes| {
            let words: Vec<_> = bytes.iter().map(|bytes| words_of(bytes)).collect();
            let counts = pending.applied(&words);
            sources.iter().map(|source| source.steps(&counts)).collect()
        })
    }

    /// Reads parameters back, each as [`Self::read_param`] would, in one submission.
    ///
    /// ```no_run
    /// # fn example(optimizer: &wgpu_optim::Optimizer) -> Result<(), wgpu_optim::Error> {
    /// let values = optimizer.read_params(optimizer.params().map(|param| param.id))?.wait()?;
    /// for (param, values) in optimizer.params().zip(values) {
    ///     println!("{} starts with {:?}", param.name, values.first());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_param`], for any of them.
    pub fn read_params(
        &self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<Readback<Vec<Vec<f32>>>, Error> {
        let params = self.model.find_all(params)?;
        let parts = |&param: &usize| self.engine.parts(&self.model, param, Array::Param);
        let parts = params.iter().map(parts).collect::<Result<Vec<_>, _>>()?;
        self.read_all(&params, &parts)
    }

    /// Reads the state of this name of each of these parameters back, in one submission.
    ///
    /// # Errors
    /// As [`Self::read_state`], for any of them.
    pub fn read_states(
        &self,
        params: impl IntoIterator<Item = impl ParamKey>,
        state: &str,
    ) -> Result<Readback<Vec<Vec<f32>>>, Error> {
        let params = self.model.find_all(params)?;
        let parts = |&param: &usize| {
            let state = self.model.find_state(param, state)?;
            self.engine.parts(&self.model, param, Array::State(state))
        };
        let parts = params.iter().map(parts).collect::<Result<Vec<_>, Error>>()?;
        self.read_all(&params, &parts)
    }

    /// Reads the parts of each of these parameters.
    fn read_all(
        &self,
        params: &[usize],
        parts: &[Vec<Part<'_>>],
    ) -> Result<Readback<Vec<Vec<f32>>>, Error> {
        let Gpu { device, queue, .. } = &self.engine;
        for (&param, parts) in params.iter().zip(parts) {
            self.check_usage(param, parts, wgpu::BufferUsages::COPY_SRC)?;
        }
        let stored = |parts: &Vec<Part<'_>>| parts.iter().map(Part::stored).collect();
        let stored: Vec<Vec<_>> = parts.iter().map(stored).collect();
        let sources: Vec<_> = parts.iter().flatten().map(Part::source).collect();
        Readback::start(device, queue, &sources, move |bytes| {
            let mut rest = bytes;
            let floats = |stored: &Vec<_>| {
                let (bytes, after) = rest.split_at(stored.len());
                rest = after;
                Stored::decode(stored, bytes)
            };
            stored.iter().map(floats).collect()
        })
    }
}
