//! Taking a case's steps: what is exactly so is asserted, all else is found to be judged.

use super::case::{Case, Group, Inputs, Scaled, Step};
use super::follower::{Follower, Told, sums};
use std::collections::BTreeMap;
use wgpu_optim::NonFinite;

/// How far a scheduled rate may be, as in `schedules.rs`.
const LR_TOLERANCE: f64 = 1e-13;

/// What a follower was found to be at after each step, by the records' names. Elements of
/// parameters that it does not have yet are `None`.
pub type Found = BTreeMap<String, Vec<Vec<Option<f64>>>>;

/// Holds what an optimizer tells, if it does, to what is exactly so.
fn same<T: PartialEq + std::fmt::Debug>(told: Option<T>, expected: T, what: &str) {
    if let Some(told) = told {
        assert_eq!(told, expected, "{what}");
    }
}

/// Takes a case's steps. What is exact is asserted.
pub fn follow(case: &Case, inputs: &Inputs, follower: &mut impl Follower) -> Found {
    let (members, lrs, found) = Default::default();
    let mut run = Run { case, inputs, follower, members, lrs, skipped: 0, found };
    case.groups.iter().for_each(|group| run.join(group));
    for (index, step) in case.steps.iter().enumerate() {
        let label = format!("{} step {}", case.name, index + 1);
        run.change(index, step, &label);
        let bad = run.set_grads(step);
        let told = run.follower.step(case);
        run.check(index, step, &told, &bad, &label);
        run.record(&told, &bad);
    }
    run.found
}

/// An optimizer on its way through a case.
struct Run<'a, F> {
    case: &'a Case,
    inputs: &'a Inputs,
    follower: &'a mut F,
    /// The parameters that it has by now.
    members: Vec<&'a String>,
    /// Each group's rate before the schedule.
    lrs: Vec<f64>,
    skipped: u64,
    found: Found,
}

impl<'a, F: Follower> Run<'a, F> {
    /// Sets a new group's parameters.
    fn join(&mut self, group: &'a Group) {
        for name in &group.params {
            self.follower.set_param(name, &self.inputs.params[name]);
            self.members.push(name);
        }
        self.lrs.push(group.lr);
    }

    /// What changes before a step: groups, the largest norm, and rates.
    fn change(&mut self, index: usize, step: &'a Step, label: &str) {
        if let Some(group) = &step.add {
            let lens = self.inputs.lens(&group.params);
            let added = self.follower.add_group(group.rule.boxed(), lens);
            assert_eq!(added, self.lrs.len(), "{label}: the group's index");
            self.join(group);
        }
        if let Some(max_norm) = step.max_norm {
            self.follower.set_max_norm(max_norm);
        }
        assert_eq!(self.lrs.len(), step.lrs.len(), "{label}: groups");
        for (group, (&base, &expected)) in self.lrs.iter().zip(&step.lrs).enumerate() {
            let lr = self.case.lr(base, index);
            assert!((lr - expected).abs() <= LR_TOLERANCE * expected, "{label}: {lr} {expected}");
            self.follower.set_lr(group, lr);
        }
    }

    /// Sets gradients; which elements are not finite.
    fn set_grads(&mut self, step: &Step) -> Vec<NonFinite> {
        let mut bad = Vec::new();
        for &name in &self.members {
            let frozen = step.frozen.contains(name);
            self.follower.set_frozen(name, frozen);
            let mut gradients = self.case.gradients(self.inputs, step, name);
            if frozen {
                // PyTorch has none; whatever is there counts for nothing.
                gradients.iter_mut().for_each(|gradient| gradient.fill(f32::NAN));
            } else {
                let sums = sums(&gradients, |g| g);
                let of = |(at, g): (usize, &f32)| {
                    let index = at as u64;
                    (!g.is_finite()).then(|| NonFinite { parameter: name.clone(), index })
                };
                bad.extend(sums.iter().enumerate().filter_map(of));
            }
            let scale = step.scaled.map_or(1.0, |scaled| scaled.scale);
            self.follower.set_grad(name, &gradients, scale);
        }
        bad
    }

    /// Holds what was told of a step to what is exactly so.
    fn check(&mut self, index: usize, step: &Step, told: &Told, bad: &[NonFinite], label: &str) {
        self.skipped += u64::from(step.skipped);
        let unscaled = Scaled { scale: 1.0, next_scale: 1.0, growth_tracker: 0 };
        let scaled = step.scaled.unwrap_or(unscaled);
        same(told.is_skipped, step.skipped, &format!("{label}: skip"));
        same(told.skipped, self.skipped, &format!("{label}: skipped so far"));
        same(told.steps, index as u64 + 1, &format!("{label}: steps"));
        same(told.scale, scaled.scale, &format!("{label}: scale"));
        same(told.next_scale, scaled.next_scale, &format!("{label}: next scale"));
        same(told.growth_tracker, scaled.growth_tracker, &format!("{label}: growth tracker"));
        let non_finite = (bad.len() as u32, bad.first().cloned());
        same(told.non_finite.clone(), non_finite, &format!("{label}: not finite"));
        let taken = |name: &&String| ((*name).clone(), self.follower.taken(name));
        let taken: BTreeMap<_, _> = self.members.iter().map(taken).collect();
        assert_eq!(taken, step.taken, "{label}: steps of each parameter");
    }

    /// Keeps what is to be judged.
    fn record(&mut self, told: &Told, bad: &[NonFinite]) {
        for record in self.case.records.keys() {
            let values = match (record.as_str(), record.strip_prefix("state.")) {
                ("params", _) => self.kept(|name| self.follower.param(name)),
                (_, Some(state)) => self.kept(|name| self.follower.state(name, state)),
                ("norms", _) => vec![told.norm],
                // Where a gradient is not finite, PyTorch's own tells nothing.
                ("clips", _) => vec![told.clip.filter(|_| bad.is_empty())],
                other => panic!("{}: not understood: {other:?}", self.case.name),
            };
            self.found.entry(record.clone()).or_default().push(values);
        }
    }

    /// The elements of all arrays that cases record.
    fn kept(&self, array: impl Fn(&str) -> Vec<f64>) -> Vec<Option<f64>> {
        let elements = |(name, kept): &(String, Vec<usize>)| -> Vec<Option<f64>> {
            if !self.members.contains(&name) {
                return vec![None; kept.len()];
            }
            let array = array(name);
            kept.iter().map(|&index| Some(array[index])).collect()
        };
        self.inputs.kept.iter().flat_map(elements).collect()
    }
}
