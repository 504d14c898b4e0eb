//! Exchanging parameters and their averages.

use crate::error::Error;
use crate::gpu::blocks::{Beside, Blocks};
use crate::gpu::buffers::StateOf;
use crate::gpu::compile::Recorded;
use crate::gpu::engine::Gpu;
use crate::gpu::guard::guarded;
use crate::gpu::uploads::Bound;
use crate::layout::geometry::THREADS_PER_BLOCK;
use crate::layout::pages::Slot;
use crate::layout::plan::{Dispatch, Window, plan_of};
use crate::model::{Codec, Model};
use crate::optimizer::{Engine, Optimizer};
use crate::shader::Resource;

const PREPARING: &str = "exchanging parameters and averages";

impl Optimizer<Gpu> {
    /// Records that parameters and their averages ([`Modifiers::average`](crate::Modifiers)) change
    /// places, as for an evaluation, and a second time that they change back. It takes effect when
    /// the commands run, as a step does, and what is recorded must be submitted. Meanwhile steps,
    /// saving and loading are refused. Parameters without an average, and those that took no step
    /// yet, stay.
    ///
    /// # Errors
    /// No group has an average; a parameter of 16 bits has no master, so that it could not be
    /// exchanged back; a parameter's buffers were removed; the device was lost or could not create
    /// tables and bind groups. Nothing is recorded then.
    pub fn swap_average(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let params = self.model.to_swap()?;
        params.iter().try_for_each(|&param| self.engine.check_place(&self.model, param))?;
        let recorded = self.engine.swap(&self.model, &params)?;
        let descriptor = wgpu::ComputePassDescriptor {
            label: Some("wgpu-optim exchange with averages"),
            timestamp_writes: None,
        };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        recorded.iter().for_each(|dispatch| dispatch.record_alone(&mut pass));
        self.model.set_swapped(params);
        Ok(())
    }
}

impl Gpu {
    /// The dispatches that exchange these parameters and their averages.
    fn swap(&mut self, model: &Model, params: &[usize]) -> Result<Vec<Recorded>, Error> {
        let limits = self.compiler.limits;
        // One kernel exchanges them all, and reads no coefficients.
        let any = Slot { kernel: 0, page: 0, index: 0 };
        let order = params.iter().map(|&param| (param, any)).collect();
        let dispatches = plan_of(&self.layout, order, &limits);
        guarded(&self.device.clone(), PREPARING, || {
            let beside = Beside::NOTHING;
            let mut blocks = Blocks::new(&mut self.compiler, &dispatches, beside, |_| 0)?;
            let mut recorded = std::mem::take(&mut blocks.writes);
            for (index, dispatch) in dispatches.iter().enumerate() {
                recorded.push(self.swap_dispatch(model, (index, dispatch), &blocks)?);
            }
            Ok(recorded)
        })?
    }

    fn swap_dispatch(
        &mut self,
        model: &Model,
        (index, dispatch): (usize, &Dispatch),
        blocks: &Blocks,
    ) -> Result<Recorded, Error> {
        let missing = || Error::device(PREPARING, "a buffer is missing");
        let param = dispatch.pieces.first().map(|piece| piece.param);
        let average = param.and_then(|param| model.average_of(param)).ok_or_else(missing)?;
        let (formats, [params, _, states]) = (dispatch.formats, dispatch.windows);
        let kernel = self.compiler.swap(dispatch.transport, formats, average);
        let key = self.compiler.fixed(kernel)?;
        let bind = |window: Window, of: StateOf, codec: Codec| {
            self.buffers.window(window, of, codec).ok_or_else(missing)
        };
        let mut operands = vec![
            (Resource::Table, blocks.rows(index)),
            (Resource::Params, bind(params, StateOf::default(), formats.param)?),
        ];
        for state in [Some(average), formats.kept()].into_iter().flatten() {
            let of = StateOf { class: dispatch.class, state };
            let codec = formats.states.as_slice()[state];
            operands.push((Resource::State(state), bind(states, of, codec)?));
        }
        let grid = dispatch.grid(THREADS_PER_BLOCK, &self.compiler.limits);
        self.compiler.ready(key, &operands, Bound::Nothing, grid)
    }
}
