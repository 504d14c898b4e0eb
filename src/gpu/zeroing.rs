//! Zeroing the gradients of frozen parameters in steps that zero gradients: no update reads them,
//! and an engine that adds to them would otherwise find old sums there when they are thawed. It is
//! a dispatch, as a step may be part of a pass, where no buffer can be cleared, and as gradients
//! need no usage but `STORAGE`.

use crate::error::Error;
use crate::gpu::blocks::{Beside, Blocks};
use crate::gpu::buffers::{Buffers, StateOf};
use crate::gpu::compile::{Compiler, Recorded};
use crate::gpu::uploads::Bound;
use crate::layout::geometry::THREADS_PER_BLOCK;
use crate::layout::limits::Limits;
use crate::layout::pages::Slot;
use crate::layout::placement::Layout;
use crate::layout::plan::{Dispatch, plan_of};
use crate::model::Model;
use crate::shader::Resource;

/// Dispatches that zero gradients.
#[derive(Debug, Default)]
pub(super) struct Zeroing {
    /// What writes their tables, where the GPU does.
    pub writes: Vec<Recorded>,
    pub recorded: Vec<Recorded>,
}

/// The gradients of those of these parameters that are frozen, cut into dispatches.
pub(super) fn frozen(
    model: &Model,
    layout: &Layout,
    params: impl IntoIterator<Item = usize>,
    limits: &Limits,
) -> Vec<Dispatch> {
    // One kernel zeroes them all, and reads no coefficients.
    let any = Slot { kernel: 0, page: 0, index: 0 };
    let frozen = params.into_iter().filter(|&param| model.is_frozen(param));
    plan_of(layout, frozen.map(|param| (param, any)).collect(), limits)
}

impl Zeroing {
    /// Creates tables and bind groups. To be called within an error scope.
    pub fn new(
        dispatches: &[Dispatch],
        buffers: &Buffers,
        compiler: &mut Compiler,
    ) -> Result<Self, Error> {
        if dispatches.is_empty() {
            return Ok(Self::default());
        }
        let mut blocks = Blocks::new(compiler, dispatches, Beside::NOTHING, |_| 0)?;
        let writes = std::mem::take(&mut blocks.writes);
        let mut recorded = Vec::new();
        for (index, dispatch) in dispatches.iter().enumerate() {
            let codec = dispatch.formats.grad;
            let key = compiler.fixed(compiler.zero(dispatch.transport, codec))?;
            let grads = buffers.window(dispatch.windows[1], StateOf::default(), codec);
            let grads = grads.ok_or_else(|| Error::device("preparing a step", "no gradient"))?;
            let operands = vec![(Resource::Table, blocks.rows(index)), (Resource::Grads, grads)];
            let grid = dispatch.grid(THREADS_PER_BLOCK, &compiler.limits);
            recorded.push(compiler.ready(key, &operands, Bound::Nothing, grid)?);
        }
        Ok(Self { writes, recorded })
    }
}
