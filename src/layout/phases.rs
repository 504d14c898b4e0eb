//! The phases of a step: what is dispatched together, in order.

use crate::layout::plan::Dispatch;
use crate::rule::Pass;
use std::ops::Range;

/// What is added up: partial sums of blocks, to one entry a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Summed {
    /// Measures of gradients, as they arrived.
    Measures,
    /// What a pass of the rule of a kernel adds up.
    Rule(usize, Pass),
    /// Squares of the parameters and of what the step changed them by.
    Changes,
}

/// What a phase does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Measures the gradients of each dispatch's blocks.
    Measure,
    /// Adds up all blocks' measures to a few. After it, everything that is known of this process's
    /// gradients is in these few entries: where processes exchange theirs, they do it here.
    Gather,
    /// Decides on the step: the verdict, step counts, coefficients.
    Decide,
    /// One of a rule's passes over the blocks of its dispatches.
    Pass(Pass),
    /// Adds up one level of partial sums.
    AddUp(Summed, usize),
}

/// One phase: work, and the dispatches of the plan that it goes through; none where it does not go
/// through blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// What is done.
    pub work: Work,
    /// The dispatches.
    pub dispatches: Range<usize>,
}

/// What a step is asked for, beside updating.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Something must be known of all gradients before any parameter is updated.
    pub decides: bool,
    /// Sums of each tensor's gradient and change are kept.
    pub statistics: bool,
}

/// The phases of a step of these dispatches, which follow one another kernel by kernel. `passes`
/// gives each kernel's; partial sums are added up in so many `levels`.
pub fn phases(
    dispatches: &[Dispatch],
    passes: impl Fn(usize) -> Vec<Pass>,
    asked: Asked,
    levels: usize,
) -> Vec<Phase> {
    let mut phases = Phases { phases: Vec::new(), levels };
    if asked.decides {
        phases.push(Work::Measure, 0..dispatches.len());
        phases.push(Work::Gather, 0..0);
        phases.push(Work::Decide, 0..0);
    }
    if asked.statistics {
        phases.add_up(Summed::Measures);
    }
    let mut first = 0;
    for chunk in dispatches.chunk_by(|a, b| a.kernel == b.kernel) {
        let kernel = chunk[0].kernel;
        let range = first..first + chunk.len();
        first = range.end;
        for pass in passes(kernel) {
            phases.push(Work::Pass(pass), range.clone());
            if pass != Pass::Update {
                phases.add_up(Summed::Rule(kernel, pass));
            }
        }
    }
    if asked.statistics {
        phases.add_up(Summed::Changes);
    }
    phases.phases
}

struct Phases {
    phases: Vec<Phase>,
    levels: usize,
}

impl Phases {
    fn push(&mut self, work: Work, dispatches: Range<usize>) {
        self.phases.push(Phase { work, dispatches });
    }

    fn add_up(&mut self, summed: Summed) {
        (0..self.levels).for_each(|level| self.push(Work::AddUp(summed, level), 0..0));
    }
}
