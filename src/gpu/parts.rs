//! Parts of a step: the commands of those that were asked for, kept for the next step.

use crate::gpu::commands::Commands;
use crate::gpu::ring::Slot;
use crate::gpu::uploads::Uploads;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is kept of a step that is recorded in parts.
#[derive(Debug)]
pub struct Open {
    /// What the step uploaded.
    pub(super) slot: Slot,
    /// The step's number.
    pub(super) number: u64,
    /// Dispatches recorded so far.
    pub(super) dispatches: usize,
    /// What commands hold until they have run.
    pub(super) unfinished: Arc<()>,
}

/// The parts that were asked for, by their parameters in order.
#[derive(Debug, Default)]
pub(super) struct Parts(HashMap<Vec<usize>, Part>);

/// A part that can be recorded as often as nothing changes.
#[derive(Debug)]
pub(super) struct Part {
    commands: Commands,
    /// The number of the first step that it was recorded in, if it was.
    first_step: Option<u64>,
    /// The number of the latest step in which it is known to have run. Each part has its own, since
    /// each may be in other commands, of which some are dropped.
    arrived: Arc<AtomicU64>,
}

impl Parts {
    pub fn get_mut(&mut self, params: &[usize]) -> Option<&mut Part> {
        self.0.get_mut(params)
    }

    /// Keeps a part, of a model of so many parameters. Parts that differ from step to step without
    /// end are forgotten: steps have at most a part for each parameter.
    pub fn insert(&mut self, params: Vec<usize>, commands: Commands, of: usize) {
        if self.0.len() >= 4 * of.max(1) {
            self.0.clear();
        }
        let part = Part { commands, first_step: None, arrived: Arc::default() };
        self.0.insert(params, part);
    }
}

impl Part {
    /// Records it as a part of this step.
    pub fn record(&mut self, pass: &mut wgpu::ComputePass<'_>, uploads: &Uploads, open: &mut Open) {
        let first = *self.first_step.get_or_insert(open.number);
        let first_is_done = self.arrived.load(Ordering::Acquire) >= first;
        self.commands.record(pass, uploads, &open.slot, first_is_done);
        open.dispatches += self.commands.recorded.len();
        let marks = (open.slot.in_use.clone(), open.unfinished.clone());
        let (number, arrived) = (open.number, self.arrived.clone());
        pass.on_submitted_work_done(move || {
            arrived.fetch_max(number, Ordering::AcqRel);
            drop(marks);
        });
    }
}
