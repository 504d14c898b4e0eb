//! The phases of a step, without a GPU: whatever the dispatches and what is asked, everything is
//! there once, and after what it needs.

use proptest::prelude::*;
use std::ops::Range;
use wgpu_optim::Pass;
use wgpu_optim::internals::Formats;
use wgpu_optim::internals::geometry::Transport;
use wgpu_optim::internals::phases::{Asked, Phase, Summed, Work, phases};
use wgpu_optim::internals::placement::BufferId;
use wgpu_optim::internals::plan::{Dispatch, Window};

/// A step: for each kernel its number of dispatches and whether its rule has sums; what is asked;
/// and in how many levels partial sums are added up.
#[derive(Debug, Clone)]
struct Step {
    kernels: Vec<(usize, bool)>,
    asked: Asked,
    levels: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let kernels = prop::collection::vec((0usize..4, any::<bool>()), 0..5);
    // Statistics are of a step that is decided on.
    let asked = prop_oneof![Just((false, false)), Just((true, false)), Just((true, true))];
    let asked = asked.prop_map(|(decides, statistics)| Asked { decides, statistics });
    (kernels, asked, 1usize..4).prop_map(|(kernels, asked, levels)| Step { kernels, asked, levels })
}

/// A dispatch of a kernel; where its elements are is nothing to its phases.
fn dispatch(kernel: usize) -> Dispatch {
    let window = Window { buffer: BufferId::Params(0), start: 0, end: 0 };
    let (pieces, transport) = (Vec::new(), Transport::Scalar);
    let formats = Formats::f32(1);
    let windows = [window; 3];
    Dispatch { kernel, page: 0, class: 0, formats, transport, windows, pieces, narrow: false }
}

impl Step {
    fn dispatches(&self) -> Vec<Dispatch> {
        let of = |(kernel, &(count, _)): (usize, &(usize, bool))| vec![dispatch(kernel); count];
        self.kernels.iter().enumerate().flat_map(of).collect()
    }

    fn phases(&self) -> Vec<Phase> {
        let passes = |kernel: usize| match self.kernels[kernel].1 {
            true => vec![Pass::Sum, Pass::Update],
            false => vec![Pass::Update],
        };
        phases(&self.dispatches(), passes, self.asked, self.levels)
    }

    /// Whether some phase must come before another.
    fn has_order(&self) -> bool {
        self.asked.decides || self.active().iter().any(|(_, _, sums)| *sums)
    }

    /// The kernels that have dispatches: each with its dispatches' range, and whether it sums.
    fn active(&self) -> Vec<(usize, Range<usize>, bool)> {
        let mut first = 0;
        let mut active = Vec::new();
        for (kernel, &(count, sums)) in self.kernels.iter().enumerate() {
            active.push((kernel, first..first + count, sums));
            first += count;
        }
        active.retain(|(_, range, _)| !range.is_empty());
        active
    }
}

/// Refuses with a message what does not hold.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

/// Phases that claim to be a step's.
struct Claim<'a> {
    step: &'a Step,
    phases: &'a [Phase],
}

impl Claim<'_> {
    fn places(&self, work: Work) -> impl Iterator<Item = usize> {
        (0..self.phases.len()).filter(move |&place| self.phases[place].work == work)
    }

    /// The place of what is there once.
    fn one(&self, work: Work) -> Result<usize, String> {
        let places: Vec<_> = self.places(work).collect();
        ensure!(places.len() == 1, "{work:?} is there {} times", places.len());
        Ok(places[0])
    }

    /// The places of the first and the last level.
    fn add_up(&self, summed: Summed) -> Result<[usize; 2], String> {
        let one = |level| self.one(Work::AddUp(summed, level));
        let levels: Vec<_> = (0..self.step.levels).map(one).collect::<Result<_, _>>()?;
        ensure!(levels.is_sorted(), "the levels of {summed:?} are in disorder");
        Ok([levels[0], levels[levels.len() - 1]])
    }

    /// The place of the one phase that takes a dispatch through a pass.
    fn through(&self, pass: Pass, index: usize) -> Result<usize, String> {
        let through = |&place: &usize| self.phases[place].dispatches.contains(&index);
        let places: Vec<_> = self.places(Work::Pass(pass)).filter(through).collect();
        ensure!(places.len() == 1, "{pass:?} of {index} is there {} times", places.len());
        Ok(places[0])
    }

    fn check(&self) -> Result<(), String> {
        let known = self.check_decision()? + self.check_rules()? + self.check_changes()?;
        let is_pass = |phase: &&Phase| matches!(phase.work, Work::Pass(_));
        let passes = self.phases.iter().filter(is_pass).count();
        ensure!(self.phases.len() == known + passes, "something that nobody asked for");
        Ok(())
    }

    /// What comes before any pass; how many phases that is.
    fn check_decision(&self) -> Result<usize, String> {
        let Step { asked, levels, .. } = self.step;
        if !asked.decides {
            return Ok(0);
        }
        let measure = self.one(Work::Measure)?;
        let all = 0..self.step.dispatches().len();
        ensure!(self.phases[measure].dispatches == all, "not all gradients are measured");
        let (gather, decide) = (self.one(Work::Gather)?, self.one(Work::Decide)?);
        ensure!(measure < gather && gather < decide, "decided before it is measured");
        let mut phases = self.phases.iter();
        let first_pass = phases.position(|phase| matches!(phase.work, Work::Pass(_)));
        ensure!(first_pass.is_none_or(|pass| decide < pass), "a pass before the decision");
        if !asked.statistics {
            return Ok(3);
        }
        let [first, _] = self.add_up(Summed::Measures)?;
        ensure!(measure < first, "added up before it is measured");
        Ok(3 + levels)
    }

    /// Each dispatch is updated once, after what its rule sums up; how many phases add that up.
    fn check_rules(&self) -> Result<usize, String> {
        let dispatches = self.step.dispatches();
        let mut known = 0;
        for (kernel, range, sums) in self.step.active() {
            for index in range {
                assert_eq!(dispatches[index].kernel, kernel);
                let update = self.through(Pass::Update, index)?;
                if sums {
                    let sum = self.through(Pass::Sum, index)?;
                    let [first, last] = self.add_up(Summed::Rule(kernel, Pass::Sum))?;
                    ensure!(sum < first && last < update, "{index} is updated without its sums");
                } else {
                    ensure!(self.through(Pass::Sum, index).is_err(), "{index} has no sums");
                }
            }
            known += if sums { self.step.levels } else { 0 };
        }
        Ok(known)
    }

    /// Changes are added up after every update; in how many phases.
    fn check_changes(&self) -> Result<usize, String> {
        if !self.step.asked.statistics {
            return Ok(0);
        }
        let [first, _] = self.add_up(Summed::Changes)?;
        let mut updates = self.places(Work::Pass(Pass::Update));
        ensure!(updates.all(|update| update < first), "an update after changes are added up");
        Ok(self.step.levels)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn everything_is_done_once_and_after_what_it_needs(step in step()) {
        prop_assert_eq!(Claim { step: &step, phases: &step.phases() }.check(), Ok(()));
    }

    /// The check can fail: what is left out, repeated, or done too early is found.
    #[test]
    fn phases_left_out_repeated_or_too_early_are_found(step in step(), at: prop::sample::Index) {
        let phases = step.phases();
        prop_assume!(!phases.is_empty());
        let at = at.index(phases.len());
        let wrong = |change: &dyn Fn(&mut Vec<Phase>)| {
            let mut phases = phases.clone();
            change(&mut phases);
            Claim { step: &step, phases: &phases }.check().is_err()
        };
        prop_assert!(wrong(&|phases| { phases.remove(at); }), "left out: {at} of {phases:?}");
        prop_assert!(wrong(&|phases| phases.insert(at, phases[at].clone())), "repeated: {at} of {phases:?}");
        if step.has_order() {
            prop_assert!(wrong(&|phases| phases.reverse()), "reversed: {phases:?}");
        }
        // The last element's update, taken before all else.
        let needs = step.asked.decides || step.active().last().is_some_and(|(_, _, sums)| *sums);
        let last = phases.iter().rposition(|phase| phase.work == Work::Pass(Pass::Update));
        if let Some(last) = last.filter(|_| needs) {
            let early = |phases: &mut Vec<Phase>| {
                let update = phases.remove(last);
                phases.insert(0, update);
            };
            prop_assert!(wrong(&early), "early: {phases:?}");
        }
    }
}
