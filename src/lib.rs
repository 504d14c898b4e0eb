//! Fused optimizers for wgpu.

// Users read the documentation before the code, and what a function can fail with is part of it.
#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]
// A panic here would be one in the caller's training loop.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout))]

mod cpu;
mod error;
pub mod format;
mod gpu;
mod groups;
pub mod layout;
pub mod plan;
mod rule;
pub mod rules;
pub mod shader;
mod values;

pub use cpu::{CpuBuilder, CpuOptimizer};
pub use error::{Check, Error};
pub use gpu::{Builder, Optimizer, Param, Readback};
#[doc(hidden)]
pub use rule::Run;
pub use rule::{Before, DynRule, Fields, MAX_STATES, Real, Rule, StateInit};
pub use rules::{Adagrad, Adam, AdamW, RMSprop, SGD};
pub use values::Values;
pub use wgpu;
