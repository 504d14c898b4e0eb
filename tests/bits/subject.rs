//! What a case does with an optimizer, on the CPU or the GPU.

use crate::rules::{self, Rule};
use wgpu_optim::GradScaler;

/// Parameters, by name and length, that share a rule.
pub struct Group {
    pub rule: Rule,
    pub params: Vec<(String, usize)>,
}

impl Group {
    /// Each parameter's name, and its states'.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let states = rules::states(&self.rule);
        self.params.iter().map(move |(name, _)| Member {
            name: name.clone(),
            states: states.iter().map(|&state| state.to_owned()).collect(),
        })
    }
}

/// A parameter of an optimizer, and its states.
pub struct Member {
    pub name: String,
    pub states: Vec<String>,
}

/// What an optimizer does around its steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Control {
    pub clip_norm: Option<f64>,
    pub clip_norm_max: Option<f64>,
    pub clip_value: Option<f64>,
    pub scaler: Option<GradScaler>,
    pub statistics: bool,
    pub zero_grad: bool,
    /// 0 stands for what an optimizer does by itself.
    pub micro_batches: u32,
}

impl Control {
    /// Whether anything is known of a step beside what it computes.
    pub fn has_statistics(&self) -> bool {
        let clips = self.clip_norm.or(self.clip_norm_max).is_some();
        clips || self.scaler.is_some() || self.statistics
    }
}

/// Gives a builder, of either optimizer, its groups and what it is to do around steps.
macro_rules! configure {
    ($builder:expr, $groups:expr, $control:expr, $param:expr) => {{
        let (mut builder, control): (_, &$crate::subject::Control) = ($builder, $control);
        for group in $groups {
            let params: Vec<_> = group.params.iter().map($param).collect();
            builder = builder.group($crate::rules::copy(&group.rule), params);
        }
        if let Some(max_norm) = control.clip_norm {
            builder = builder.clip_grad_norm(max_norm);
        }
        if let Some(max_norm) = control.clip_norm_max {
            builder = builder.clip_grad_norm_max(max_norm);
        }
        if let Some(value) = control.clip_value {
            builder = builder.clip_grad_value(value);
        }
        if let Some(scaler) = control.scaler {
            builder = builder.grad_scaler(scaler);
        }
        if control.statistics {
            builder = builder.statistics();
        }
        if control.zero_grad {
            builder = builder.zero_grad();
        }
        builder
    }};
}
pub(crate) use configure;

/// What both optimizers do word for word.
macro_rules! common_methods {
    () => {
        fn set_frozen(&mut self, name: &str, frozen: bool) {
            self.optimizer.set_frozen([name], frozen).expect("known");
        }
        fn set_lr(&mut self, group: usize, lr: f64) {
            self.optimizer.set_lr(group, lr).expect("set");
        }
        fn set_max_norm(&mut self, max_norm: f64) {
            self.optimizer.set_clip_grad_norm(max_norm).expect("set");
        }
        fn set_micro_batches(&mut self, count: u32) {
            self.optimizer.set_micro_batches(count).expect("set");
        }
        fn set_steps(&mut self, name: &str, steps: u64) {
            self.optimizer.set_steps(name, steps).expect("known");
        }
        fn add_group(&mut self, group: &$crate::subject::Group) {
            let rule = $crate::rules::copy(&group.rule);
            self.optimizer.add_group(rule, group.params.clone()).expect("added");
            self.members.extend(group.members());
        }
    };
}
pub(crate) use common_methods;

/// An optimizer with its parameters.
pub trait Subject {
    fn set_param(&mut self, name: &str, values: &[f64]);
    fn set_grad(&mut self, name: &str, values: &[f64]);
    fn set_frozen(&mut self, name: &str, frozen: bool);
    fn set_lr(&mut self, group: usize, lr: f64);
    fn set_max_norm(&mut self, max_norm: f64);
    fn set_micro_batches(&mut self, count: u32);
    fn set_steps(&mut self, name: &str, steps: u64);
    fn add_group(&mut self, group: &Group);
    fn zero_grad(&mut self);
    fn step(&mut self);
    /// The hash of all parameters and states, and of gradients if they are asked for.
    fn arrays(&mut self, with_grads: bool) -> u64;
    /// The hash of what is known of the latest step, if anything is.
    fn statistics(&self) -> Option<u64>;
}
