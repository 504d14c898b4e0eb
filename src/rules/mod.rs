//! The rules, and the one list of them. Tests, benches and the README's table go through
//! [`all`].
//!
//! # Porting a run
//!
//! Defaults are PyTorch's (for LAMB, LARS, Lion and AdaBelief optax's, for rules that neither has
//! their authors'). What reproduces a run of another library:
//!
//! | from | rule | set |
//! |---|---|---|
//! | PyTorch | `SGD`, `Adagrad`, `RMSprop`, `Adadelta`, `Adam`, `AdamW`, `NAdam`, `RAdam`, `Adamax`, `Rprop`, `ASGD` | the same names to the same values |
//! | optax | `adam`, `adamw`, `adamax`, `lion`, `lamb`, `lars`, `adabelief` | `betas: (b1, b2)` and the rest by name; `adamw`'s weight_decay is 1e-4 there |
//! | optax | `amsgrad` | [`Adam`] with `amsgrad` and `max_after_correction` |
//! | optax | `rmsprop` | `alpha: decay` (0.9), `eps_in_sqrt`, `lr_in_momentum`, `initial_square_avg: initial_scale` |
//! | optax | `adagrad` | `initial_accumulator_value: 0.1`, `eps: 1e-7`, `eps_in_sqrt` |
//! | optax | `nadam` | no: its momentum does not follow PyTorch's schedule |
//! | TensorFlow | `RMSprop` | `alpha: rho` (0.9), `eps: 1e-7`, `eps_in_sqrt`, `lr_in_momentum`; TensorFlow 1: `initial_square_avg: 1.0` |
//! | TensorFlow | `Adagrad` | `initial_accumulator_value: 0.1`, `eps: 1e-7`, `eps_in_sqrt` |
//! | TensorFlow | `Adam` | nearly: its epsilon is the paper's ε̂, which is not divided by √(1 − β2ᵗ) |
//! | Burn | `Adam`, `AdamW`, `AdaGrad` | `eps: 1e-5`; `AdamW`'s weight_decay as configured |
//! | Burn | `RmsProp` | `eps: 1e-5`, `momentum: 0.9` |
//! | Burn | `Sgd` with momentum | `dampening: 0.1`, which is Burn's default |
//! | the authors' code | `ADOPT` | `decoupled_weight_decay: decouple`; `clip: false` for a `clip_lambda` of `None` |
//! | the authors' code, Burn | `Adan` | the same names to the same values; `neg_pre_grad` keeps its sign |
//! | the authors' code | `MARS` with `mars-adamw` | the same names to the same values; [`AdamW`] for what has one dimension, unless `optimize_1d` |
//! | the authors' code, optax | `AdEMAMix` | the same names to the same values, a warm-up of `None` to 0; optax's `alpha` is 5 by default |
//! | timm | `LaProp` | the same names to the same values |
//! | schedulefree | `SGDScheduleFree`, `AdamWScheduleFree`, `RAdamScheduleFree` | the same names to the same values; its parameters in training mode (`optimizer.train()`) |
//!
//! [`SGD`] starts its buffer with the first gradient undampened, and [`RMSprop`] keeps lr outside
//! the buffer, both as PyTorch does.
//!
//! To resume a run, set its parameters, its states by their names, and its step counts
//! ([`set_steps`](crate::Optimizer::set_steps)). PyTorch's SGD has no count: with momentum, set 1
//! or more wherever its `momentum_buffer` exists. Without, the next step counts as the first one
//! and takes its gradient undampened.
//!
//! What differs from PyTorch:
//!
//! - [`RMSprop`] with `centered` cannot become NaN, and is bounded where a gradient's variance is
//!   below f32's resolution of its square. There PyTorch's f32 run is noise or NaN.
//! - [`Rprop`] multiplies signs, where PyTorch takes the sign of a product that may underflow.
//! - [`NAdam`] keeps `mu_product` in f64, and [`ASGD`] η, where PyTorch keeps them in f32.
//! - [`Lion`], [`Rprop`]: a gradient's NaN reaches the parameter, as in every rule.
//!
//! From optax: [`LAMB`] and [`LARS`] count a trust ratio above 1e37 as unknown, hence 1, where
//! optax's overflows.

use crate::rule::DynRule;

/// A WGSL rule file, by its stem.
macro_rules! wgsl {
    ($stem:literal) => {
        include_str!(concat!("../../shaders/rules/", $stem, ".wgsl"))
    };
}

/// Declares the rules' modules (each with its twin in `shaders/rules`), re-exports their types and
/// makes the list.
macro_rules! rules {
    ($($module:ident: $($rule:ident),+;)+) => {
        $(
            mod $module;
            pub use $module::{$($rule),+};
        )+

        /// The rules' types, for the crate's root.
        #[doc(hidden)]
        pub mod types {
            $(pub use super::$module::{$($rule),+};)+
        }

        /// Every rule, with its defaults.
        pub fn all() -> Vec<Box<dyn DynRule>> {
            vec![$($(Box::new($rule::default())),+),+]
        }
    };
}

rules! {
    adabelief: AdaBelief;
    adadelta: Adadelta;
    adagrad: Adagrad;
    adam: Adam, AdamW;
    adamax: Adamax;
    adan: Adan;
    ademamix: AdEMAMix;
    adopt: ADOPT;
    asgd: ASGD;
    lamb: LAMB;
    laprop: LaProp;
    lars: LARS;
    lion: Lion;
    mars: MARS;
    nadam: NAdam;
    radam: RAdam;
    rmsprop: RMSprop;
    rprop: Rprop;
    schedule_free_adam: ScheduleFreeAdamW, ScheduleFreeRAdam;
    schedule_free_sgd: ScheduleFreeSGD;
    sgd: SGD;
}

/// The largest trust ratio: products with one beyond would leave f32's range.
const MOST_RATIO: f64 = 1e37;

/// What a tensor multiplies its learning rate by, of its norm and its direction's.
fn trust_ratio(coefficient: f64, param: f64, direction: f64) -> f64 {
    let ratio = coefficient * (param / direction);
    // Written so that a NaN stays one.
    if param == 0.0 || direction == 0.0 || ratio > MOST_RATIO { 1.0 } else { ratio }
}
