//! A small model that is trained, on any engine.

use crate::common::random::Random;
use crate::common::steps::Steps;
use wgpu_optim::optimizer::{Builder, Engine, Param};
use wgpu_optim::{DynRule, Real, optimizer};

/// Names with shapes: one longer than a block, an odd one, a number, one that is empty.
pub const PARAMS: [(&str, &[usize]); 5] = [
    ("embed.weight", &[53, 5]),
    ("layers.0.weight", &[4, 7]),
    ("layers.0.bias", &[3]),
    ("temperature", &[]),
    ("empty", &[0, 2]),
];

/// What happens to a run beside its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    Plain,
    /// A parameter is frozen for some steps, another one later and for good.
    Frozen,
    /// A loss scale that moves, and infinite gradients.
    Scaled,
    /// Clipping by the norm, and limits that change.
    Clipped,
    /// The learning rate moves with every step, and other hyperparameters change once.
    Scheduled,
    /// All of it.
    All,
}

pub const STORIES: [Story; 6] =
    [Story::Plain, Story::Frozen, Story::Scaled, Story::Clipped, Story::Scheduled, Story::All];

impl Story {
    fn has(self, other: Self) -> bool {
        self == other || self == Self::All
    }

    /// An optimizer for it; `order` tells how the parameters are grouped.
    pub fn build<E: Steps>(self, rule: &dyn DynRule, order: Order) -> optimizer::Optimizer<E> {
        let mut builder = order.groups(rule);
        if self.has(Self::Scaled) {
            let scaler = wgpu_optim::GradScaler {
                init_scale: 1024.0,
                growth_interval: 3,
                ..Default::default()
            };
            builder = builder.grad_scaler(scaler);
        }
        if self.has(Self::Clipped) {
            builder = builder.clip_grad_norm(0.75).clip_grad_value(0.5);
        }
        E::build(builder)
    }

    /// Takes the steps of these numbers.
    pub fn go<E: Steps>(
        self,
        optimizer: &mut optimizer::Optimizer<E>,
        steps: std::ops::Range<u64>,
    ) {
        for step in steps {
            self.before(optimizer, step);
            for (index, (name, shape)) in PARAMS.into_iter().enumerate() {
                let mut random = Random::new(1000 * step + index as u64);
                let mut grad = random.wide_vec(shape.iter().product(), -3.0, 0.0);
                if self.has(Self::Scaled) && (step == 4 || step == 9) && index == 1 {
                    grad[3] = f32::INFINITY;
                }
                let grad: Vec<_> = grad.iter().map(|&g| E::Element::from_f64(g.into())).collect();
                optimizer.set_grad(name, &grad).expect("set");
            }
            E::step(optimizer);
        }
    }

    fn before<E: Steps>(self, optimizer: &mut optimizer::Optimizer<E>, step: u64) {
        if self.has(Self::Frozen) {
            optimizer.set_frozen(["layers.0.bias"], (2..4).contains(&step)).expect("known");
            optimizer.set_frozen(["embed.weight"], step >= 6).expect("known");
        }
        if self.has(Self::Clipped) {
            optimizer.set_clip_grad_norm(0.75 + step as f64 / 16.0).expect("clipped");
        }
        if self.has(Self::Scheduled) {
            for group in 0..optimizer.groups() {
                let lr = optimizer.rule(group).expect("there").lr();
                optimizer.set_lr(group, lr * 0.875).expect("set");
            }
        }
        if self.has(Self::Scheduled) && step == 3 {
            let halved = |value: &mut f64| *value *= 0.5;
            for group in 0..optimizer.groups() {
                let mut rule = optimizer.rule(group).expect("there").boxed();
                for (name, hyperparameter) in rule.hyperparameters() {
                    match hyperparameter {
                        wgpu_optim::Hyperparameter::Pair(pair) if name == "betas" => {
                            halved(&mut pair.0);
                        }
                        wgpu_optim::Hyperparameter::Triple(triple) if name == "betas" => {
                            halved(&mut triple.0);
                            halved(&mut triple.2);
                        }
                        wgpu_optim::Hyperparameter::Number(number) if name == "weight_decay" => {
                            halved(number);
                        }
                        _ => {}
                    }
                }
                optimizer.set_rule(group, rule).expect("set");
            }
        }
    }
}

/// How parameters are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All in one group.
    One,
    /// Backwards, in two groups.
    Two,
}

impl Order {
    fn groups<E: Engine>(self, rule: &dyn DynRule) -> Builder<E> {
        let mut params: Vec<_> =
            PARAMS.iter().map(|(name, shape)| Param::<E::Place>::new(*name, *shape)).collect();
        match self {
            Self::One => optimizer_of(vec![params], rule),
            Self::Two => {
                params.reverse();
                let rest = params.split_off(2);
                optimizer_of(vec![params, rest], rule)
            }
        }
    }
}

fn optimizer_of<E: Engine>(groups: Vec<Vec<Param<E::Place>>>, rule: &dyn DynRule) -> Builder<E> {
    groups
        .into_iter()
        .fold(Builder::default(), |builder, params| builder.group(rule.boxed(), params))
}

/// Starts parameters somewhere.
pub fn start<E: Steps>(optimizer: &mut optimizer::Optimizer<E>) {
    for (index, (name, shape)) in PARAMS.into_iter().enumerate() {
        let values = Random::new(index as u64).wide_vec(shape.iter().product(), -2.0, 0.5);
        let values: Vec<_> = values.iter().map(|&x| E::Element::from_f64(x.into())).collect();
        optimizer.set_param(name, &values).expect("set");
    }
}
