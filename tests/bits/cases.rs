//! The cases but for the golden ones: every rule, and what is done around steps to some.

use crate::cpu::{Cpu, Threads};
use crate::data::{Data, LONG, MILD, SHORT, STEPS, WIDE};
use crate::gpu::{Gpu, OnGpu, PLACEMENTS, Placement};
use crate::hash::Number;
use crate::rules::{self, Rule, controlled, rules};
use crate::subject::{Control, Group, Subject};
use std::sync::Arc;
use wgpu_optim::{GradScaler, Real, SGD};

/// What a case prints: what follows its name, the step, the hash.
pub type Line = (&'static str, usize, u64);

/// A case, to be run at any time on any thread.
pub struct Case {
    pub name: String,
    pub run: Box<dyn Fn() -> Vec<Line> + Send + Sync>,
}

/// Makes an optimizer.
type Make = Arc<dyn Fn(&[Group], &Control) -> Box<dyn Subject> + Send + Sync>;

/// Where a case is run, and how it is named there.
#[derive(Clone)]
pub struct Way {
    pub name: String,
    pub make: Make,
    /// Of the model's parameters.
    lens: &'static [usize],
    /// Whether cases that surround steps with something are run too.
    is_controlled: bool,
}

impl Way {
    fn on_cpu<T: Real + Number>(name: &str, threads: Threads) -> Self {
        let make = move |groups: &[Group], control: &Control| -> Box<dyn Subject> {
            Box::new(Cpu::<T>::new(groups, control, threads))
        };
        Self { name: name.into(), make: Arc::new(make), lens: &LONG, is_controlled: true }
    }

    fn on_gpu(gpu: &Gpu, name: &str, placement: Placement) -> Self {
        let is_arena = placement == Placement::Arena;
        let is_long = gpu.is_small() && (is_arena || gpu.has_long_buffers());
        let device = gpu.clone();
        let make = move |groups: &[Group], control: &Control| -> Box<dyn Subject> {
            Box::new(OnGpu::new(&device, groups, control, placement))
        };
        Self {
            name: format!("gpu/{}/{name}", gpu.name),
            make: Arc::new(make),
            lens: if is_long { &LONG } else { &SHORT },
            is_controlled: is_arena || gpu.has_long_buffers(),
        }
    }

    /// On the CPU in both precisions, on one thread and on all.
    pub fn on_cpus() -> Vec<Self> {
        vec![
            Self::on_cpu::<f32>("cpu/f32/step", Threads::One),
            Self::on_cpu::<f32>("cpu/f32/par_step", Threads::All),
            Self::on_cpu::<f64>("cpu/f64/step", Threads::One),
            Self::on_cpu::<f64>("cpu/f64/par_step", Threads::All),
        ]
    }

    /// On every device, with parameters in every place.
    pub fn on_gpus(gpus: &[Gpu]) -> Vec<Self> {
        let on = |gpu| PLACEMENTS.map(|(name, placement)| Self::on_gpu(gpu, name, placement));
        gpus.iter().flat_map(on).collect()
    }
}

/// How a model's parameters are grouped.
#[derive(Debug, Clone, Copy)]
enum Grouping {
    One,
    /// The second half has other hyperparameters.
    Halves,
    /// The second half has another rule.
    TwoRules,
}

/// What surrounds a model's steps.
#[derive(Debug, Clone, Copy)]
struct Plan {
    name: &'static str,
    control: Control,
    grouping: Grouping,
    /// What gradients are multiplied by.
    gain: f64,
    /// Whether a gradient is infinite in the second step.
    has_fault: bool,
    /// What is done between the gradients' computation and a step, by its number.
    before: fn(&mut dyn Subject, usize),
}

const PLAIN: Plan = Plan {
    name: "",
    control: Control {
        clip_norm: None,
        clip_norm_max: None,
        clip_value: None,
        scaler: None,
        statistics: false,
        zero_grad: false,
        micro_batches: 0,
    },
    grouping: Grouping::One,
    gain: 1.0,
    has_fault: false,
    before: |_, _| (),
};

/// A parameter is frozen for two steps.
fn freeze(subject: &mut dyn Subject, step: usize) {
    match step {
        2 => subject.set_frozen("p3", true),
        4 => subject.set_frozen("p3", false),
        _ => {}
    }
}

fn plans() -> Vec<Plan> {
    let with = |name, control| Plan { name, control, ..PLAIN };
    let control = Control::default();
    let scaler = GradScaler { init_scale: 1024.0, growth_interval: 2, ..Default::default() };
    let scaled = Control { scaler: Some(scaler), ..control };
    let all = Control {
        clip_norm: Some(1.0),
        clip_value: Some(1e-2),
        statistics: true,
        zero_grad: true,
        micro_batches: 4,
        ..scaled
    };
    vec![
        with("clip_norm", Control { clip_norm: Some(1.0), ..control }),
        with("clip_norm_max", Control { clip_norm_max: Some(10.0), ..control }),
        with("clip_value", Control { clip_value: Some(0.5), ..control }),
        Plan { gain: 1024.0, has_fault: true, ..with("scaler", scaled) },
        with("statistics", Control { statistics: true, ..control }),
        with("zero_grad", Control { zero_grad: true, ..control }),
        with("micro_batches", Control { micro_batches: 4, ..control }),
        Plan { gain: 1024.0, has_fault: true, before: freeze, ..with("all", all) },
        Plan { name: "frozen", before: freeze, ..PLAIN },
        Plan {
            name: "set_lr",
            before: |subject, step| {
                if step == 3 {
                    subject.set_lr(0, 0.037);
                }
            },
            ..PLAIN
        },
        Plan {
            name: "zero_grad_between",
            before: |subject, step| {
                if step == 3 {
                    subject.zero_grad();
                }
            },
            ..PLAIN
        },
        Plan {
            before: |subject, step| {
                if step == 1 {
                    subject.set_steps("p1", 7);
                    subject.set_steps("p4", 1_000_003);
                }
            },
            ..with("resumed", Control { clip_norm: Some(1e9), ..control })
        },
        Plan { name: "two_groups", grouping: Grouping::Halves, ..PLAIN },
        Plan { grouping: Grouping::Halves, gain: 1024.0, ..with("two_groups_all", all) },
        Plan { name: "two_rules", grouping: Grouping::TwoRules, ..PLAIN },
    ]
}

impl Plan {
    fn groups(&self, [first, second]: &[Rule; 2], lens: &[usize]) -> Vec<Group> {
        let name = |(i, &len): (usize, &usize)| (format!("p{i}"), len);
        let mut params: Vec<_> = lens.iter().enumerate().map(name).collect();
        let second = match self.grouping {
            Grouping::One => return vec![Group { rule: rules::copy(first), params }],
            Grouping::Halves => rules::copy(second),
            Grouping::TwoRules => SGD { lr: 0.3, ..Default::default() }.into(),
        };
        let rest = params.split_off(lens.len() / 2);
        vec![Group { rule: rules::copy(first), params }, Group { rule: second, params: rest }]
    }

    /// Takes a model's steps.
    fn follow(&self, way: &Way, rules: &[Rule; 2], data: &Data, steps: usize) -> Vec<Line> {
        let groups = self.groups(rules, way.lens);
        let mut subject = (way.make)(&groups, &self.control);
        let names = || groups.iter().flat_map(|group| &group.params).map(|(name, _)| name);
        for (name, values) in names().zip(&data.params) {
            subject.set_param(name, values);
        }
        if self.control.micro_batches > 0 {
            subject.set_micro_batches(self.control.micro_batches);
        }
        let mut lines = Vec::new();
        for (step, grads) in (1..).zip(&data.grads).take(steps) {
            for (name, grad) in names().zip(grads) {
                let mut grad: Vec<_> = grad.iter().map(|g| self.gain * g).collect();
                if self.has_fault && step == 2 && name == "p6" {
                    grad[300] = f64::INFINITY;
                }
                subject.set_grad(name, &grad);
            }
            (self.before)(subject.as_mut(), step);
            subject.step();
            lines.extend(look(subject.as_mut(), step, self.control.zero_grad));
        }
        lines
    }
}

/// What there is to be seen of a subject after a step.
pub fn look(subject: &mut dyn Subject, step: usize, with_grads: bool) -> Vec<Line> {
    let arrays = ("", step, subject.arrays(with_grads));
    let statistics = subject.statistics().map(|hash| (":statistics", step, hash));
    [Some(arrays), statistics].into_iter().flatten().collect()
}

/// All cases but for the golden ones.
pub fn cases(ways: &[Way]) -> Vec<Case> {
    let mut cases = Vec::new();
    for way in ways {
        for (name, rule) in rules() {
            let name = format!("{}/{name}", way.name);
            let (way, rules) = (way.clone(), [rules::copy(&rule), rule]);
            // A step less: the gradients of the fifth add nothing.
            let run = move || PLAIN.follow(&way, &rules, &WIDE, STEPS - 1);
            cases.push(Case { name, run: Box::new(run) });
        }
        for plan in plans().into_iter().filter(|_| way.is_controlled) {
            for (name, rules) in controlled() {
                let name = format!("{}/{name}/{}", way.name, plan.name);
                let way = way.clone();
                let run = move || plan.follow(&way, &rules, &MILD, STEPS);
                cases.push(Case { name, run: Box::new(run) });
            }
        }
    }
    cases
}
