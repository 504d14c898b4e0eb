//! Learning-rate schedules, on the host and in f64.
//!
//! A [`Schedule`] is a pure function of the step, counted from 0: `schedule.lr(step)` is the rate
//! of the step-th step. Nothing is remembered between steps, so that a resumed run needs the step's
//! number and no more. (The exception is [`ReduceOnPlateau`], which learns from a metric.) A
//! schedule knows no optimizer: its numbers go to the `set_lr` of a group, on the GPU and on the
//! CPU alike.
//!
//! # A training loop
//!
//! A warm-up of 10 steps and a cosine over the 90 that follow, for two groups, the second at a
//! tenth of the first one's rate:
//!
//! ```
//! use wgpu_optim::schedule::{CosineAnnealing, Schedule};
//! use wgpu_optim::{AdamW, CpuOptimizer};
//!
//! let cosine = CosineAnnealing { lr: 0.1, t_max: 90, eta_min: 1e-3 };
//! let body = Schedule::from(cosine).after_warm_up(0.01, 10);
//! let schedules = [body.clone(), body.scaled(0.1)];
//! for schedule in &schedules {
//!     schedule.validate()?;
//! }
//!
//! let mut optimizer = CpuOptimizer::<f32>::builder()
//!     .group(AdamW::default(), [("body", 1)])
//!     .group(AdamW { weight_decay: 0.0, ..Default::default() }, [("head", 1)])
//!     .build()?;
//! optimizer.set_param("body", &[1.0])?;
//! optimizer.set_param("head", &[1.0])?;
//! for step in 0..100 {
//!     for (group, schedule) in schedules.iter().enumerate() {
//!         optimizer.set_lr(group, schedule.lr(step))?;
//!     }
//!     for name in ["body", "head"] {
//!         let p = optimizer.param(name)?[0];
//!         optimizer.set_grad(name, &[2.0 * p])?; // the gradient of p²
//!     }
//!     optimizer.step()?;
//! }
//! assert!(optimizer.param("body")?[0].abs() < 0.1);
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! # From PyTorch
//!
//! Fields have PyTorch's names, and `new` its defaults. The tests hold each schedule to PyTorch's
//! own numbers: `lr(step)` is `get_last_lr()` after `step` calls of `scheduler.step()`, to
//! rounding. (PyTorch computes most rates from the one before, and its rounding errors add up; here
//! each step has a formula.)
//!
//! | `torch.optim.lr_scheduler` | here |
//! |---|---|
//! | `ConstantLR` | [`Constant`], without its fields `factor` and `total_iters` by [`Constant::new`] |
//! | `LinearLR`, `ExponentialLR`, `PolynomialLR` | [`Linear`], [`Exponential`], [`Polynomial`] |
//! | `StepLR`, `MultiStepLR` | [`Step`], [`MultiStep`] |
//! | `CosineAnnealingLR`, `CosineAnnealingWarmRestarts` | [`CosineAnnealing`], [`CosineAnnealingWarmRestarts`] |
//! | `CyclicLR`, `OneCycleLR` | [`Cyclic`], [`OneCycle`], with the momentum by [`Schedule::momentum`] |
//! | `SequentialLR` | [`Sequential`], by [`Schedule::then`] |
//! | `SequentialLR` of a `LinearLR` and another | [`WarmUp`], by [`Schedule::after_warm_up`] |
//! | `ChainedScheduler` | [`Product`], by [`Schedule::times`] |
//! | `LambdaLR` | [`Custom`], by [`Schedule::custom`]; the transformer's: [`InverseSqrt`] |
//! | one `lr` for each of `param_groups` | a schedule for each group; [`Scaled`], by [`Schedule::scaled`] |
//! | `ReduceLROnPlateau` | [`ReduceOnPlateau`] |
//!
//! # Ranges
//!
//! [`Schedule::validate`] tells values out of range by name; call it once. For a schedule that
//! passes it, no step up to `u64::MAX` gives a NaN or a rate below 0. One that does not never
//! panics either: its rate is then any number, and `set_lr` refuses what is no rate.
//!
//! # Saving
//!
//! With the feature `serde`, all types here serialise and deserialise, [`Custom`] excepted, which
//! gives an error. A schedule that comes from a file wants `validate` too. JSON keeps all bits of
//! an f64 if `serde_json` has its feature `float_roundtrip`.

mod check;
mod combine;
mod cosine;
mod curve;
mod cycle;
mod decay;
mod math;
mod plateau;

pub use combine::{Custom, Product, Scaled, Schedule, Sequential, WarmUp};
pub use cosine::{CosineAnnealing, CosineAnnealingWarmRestarts};
pub use cycle::{AnnealStrategy, Cyclic, CyclicMode, OneCycle};
pub use decay::{Constant, Exponential, InverseSqrt, Linear, MultiStep, Polynomial, Step};
pub use plateau::{PlateauMode, ReduceOnPlateau, ThresholdMode};
