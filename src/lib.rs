//! Fused optimizers for [wgpu]: Adam, RMSprop, AdaGrad and their relatives as WGSL compute shaders
//! that update a whole model in a few dispatches, inside your own device, buffers and command
//! encoder.
//!
//! - **Recorded, not submitted.** [`Optimizer::step`](optimizer::Optimizer::step) records into
//!   commands of yours. After `build` nothing is submitted, compiled, read back or waited for.
//! - **Whole model, few dispatches.** A model held in one parameter and one gradient buffer is one
//!   dispatch, whatever its number of tensors and groups. Sizes beyond 65 535 workgroups, one
//!   binding or one buffer are cut into windows.
//! - **Any placement.** Parameters and gradients are in your buffers at any offset that is a
//!   multiple of an element's bytes, or in an arena that the optimizer allocates. Nothing outside
//!   a parameter's own elements is ever written.
//! - **Half the memory and less.** Parameters and gradients in f16 or bf16, with masters; states in
//!   16 or 8 bits: [`Storage`].
//! - **PyTorch's names, defaults and formulas**, each held to PyTorch's own trajectories.
//! - **A CPU twin.** [`CpuOptimizer`] has the same methods over `f32` and `f64`, serial and
//!   parallel.
//!
//! # An engine on the GPU
//!
//! Your forward and backward passes, then our step, in one encoder:
//!
//! ```no_run
//! # fn forward_and_backward(_: &mut wgpu::CommandEncoder) {}
//! use wgpu_optim::{AdamW, Optimizer, Param, wgpu};
//!
//! # fn example(
//! #     device: &wgpu::Device,
//! #     queue: &wgpu::Queue,
//! #     [w1, w1_grad, b1, b1_grad]: [&wgpu::Buffer; 4],
//! # ) -> Result<(), wgpu_optim::Error> {
//! let weights = AdamW { lr: 3e-4, weight_decay: 0.1, ..Default::default() };
//! let biases = AdamW { weight_decay: 0.0, ..weights };
//! let mut optimizer = Optimizer::builder()
//!     .group(weights, [Param::new("w1", [784, 128]).buffers(w1, w1_grad)])
//!     .group(biases, [Param::new("b1", 128).buffers(b1, b1_grad)])
//!     .build(device, queue)?;
//!
//! for batch in 0..100 {
//!     let mut encoder = device.create_command_encoder(&Default::default());
//!     forward_and_backward(&mut encoder);
//!     optimizer.step(&mut encoder)?;
//!     queue.submit([encoder.finish()]);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A training loop on the host
//!
//! Gradients come from slices or [`ndarray`] arrays; parameters are read back when you want them:
//!
//! ```no_run
//! # fn gradient(_: &[f32]) -> Vec<f32> { vec![0.0; 10] }
//! # fn example(device: &wgpu_optim::wgpu::Device, queue: &wgpu_optim::wgpu::Queue)
//! #     -> Result<(), wgpu_optim::Error> {
//! use wgpu_optim::{Adam, Optimizer};
//!
//! let mut optimizer =
//!     Optimizer::builder().group(Adam::default(), [("w", 10)]).build(device, queue)?;
//! optimizer.set_param("w", &[0.5; 10])?;
//! for _ in 0..100 {
//!     let w = optimizer.read_param("w")?.wait()?;
//!     optimizer.set_grad("w", &gradient(&w))?;
//!     let mut encoder = device.create_command_encoder(&Default::default());
//!     optimizer.step(&mut encoder)?;
//!     queue.submit([encoder.finish()]);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The rules
//!
//! | | |
//! |---|---|
//! | momentum | [`SGD`], [`LARS`] with trust ratios, [`Lion`] by its sign |
//! | second moments | [`Adam`], [`AdamW`], [`NAdam`], [`RAdam`], [`Adamax`], [`AdaBelief`], [`LAMB`] with trust ratios |
//! | without a first moment | [`RMSprop`], [`Adagrad`], [`Adadelta`] |
//! | by signs alone | [`Rprop`] |
//!
//! Each one's page has its formula, states and paper; [`rules`] tells which options reproduce a run
//! of PyTorch, optax, TensorFlow or Burn. Hyperparameters are `f64` and public; change them between
//! steps by [`Optimizer::set_lr`] and [`Optimizer::set_rule`], which recompile nothing. Your own
//! rule is a WGSL function and a [`Rule`].
//!
//! # Precision
//!
//! Coefficients such as bias corrections are computed in f64, on the host or with the same bits on
//! the GPU, and rounded once. On the GPU all else is f32, with WGSL's accuracy: a step is the exact
//! one of inputs that differ by a few ulps, and the tests hold each to that; `docs/bounds.md` has
//! the largest errors of each rule on every adapter that was tried. Inputs and states are
//! meant to have magnitudes from 1e-18 to 1e18, or to be zero. Beyond, squares leave f32's range:
//! where g² overflows, the second moment is infinite and the element stands still; where it
//! underflows (or is flushed to zero, as GPUs may), `eps` alone divides. A NaN in a gradient makes
//! its element's parameter NaN for good, in every rule, and no other's, except where the rule has
//! trust ratios: there it reaches its whole tensor. It makes the element's states NaN too, but for
//! [`Rprop`]'s `step_size`; [`Adamax`]'s `exp_inf` is a number again with the next gradient that is
//! one. On the CPU and the GPU the same.
//!
//! # Around the step
//!
//! What training loops do around a step happens on the GPU, in the step's own commands, and nothing
//! is read back for it:
//!
//! ```no_run
//! # use wgpu_optim::wgpu::{Buffer, CommandEncoder};
//! # fn forward_and_backward(_: &mut CommandEncoder, _: &Buffer) {}
//! # fn example(device: &wgpu_optim::wgpu::Device, queue: &wgpu_optim::wgpu::Queue)
//! #     -> Result<(), wgpu_optim::Error> {
//! use wgpu_optim::{AdamW, GradScaler, Optimizer};
//!
//! let mut optimizer = Optimizer::builder()
//!     .group(AdamW::default(), [("w", 4096), ("b", 64)])
//!     .clip_grad_norm(1.0)
//!     .grad_scaler(GradScaler::default())
//!     .statistics()
//!     .build(device, queue)?;
//!
//! let mut encoder = device.create_command_encoder(&Default::default());
//! forward_and_backward(&mut encoder, optimizer.loss_scale()?); // multiplies its loss by the scale
//! optimizer.step(&mut encoder)?;
//! queue.submit([encoder.finish()]);
//!
//! let found = optimizer.read_statistics()?.wait()?; // or `.await` it, or look again later
//! println!("norm {}, scale {}, {} skipped", found.grad_norm, found.loss_scale, found.skipped);
//! if found.skipped_in_row > 20 {
//!     // No scale is small enough: the model itself is not finite. Go back to a checkpoint.
//!     println!("first in {:?}", found.first_non_finite);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - **Clipping**: [`clip_grad_norm`](Builder::clip_grad_norm) by the norm of all gradients,
//!   [`clip_grad_norm_max`](Builder::clip_grad_norm_max) by the largest magnitude,
//!   [`clip_grad_value`](Builder::clip_grad_value) element by element.
//! - **Loss scaling**: [`grad_scaler`](Builder::grad_scaler) unscales gradients and skips a step
//!   whole in which one is infinite or NaN. The GPU then counts the steps, and computes what
//!   depends on the count with the host's bits: a skipped step is as if it had never been.
//! - **Accumulation**: let backward passes add to the gradients, tell their number by
//!   [`set_micro_batches`](Optimizer::set_micro_batches), and zero gradients as the step reads them
//!   ([`Builder::zero_grad`]) or by a command ([`Optimizer::zero_grad`]).
//! - **Masks and groups**: [`groups_by_name`](Builder::groups_by_name),
//!   [`lr_multiplier`](Builder::lr_multiplier), and between steps
//!   [`set_frozen`](Optimizer::set_frozen), [`add_group`](Optimizer::add_group),
//!   [`set_buffers`](Optimizer::set_buffers) and [`remove_buffers`](Optimizer::remove_buffers):
//!   states and step counts stay, and each parameter's count is its own.
//! - **Steps in parts**: [`begin_step`](Optimizer::begin_step) steps each parameter as soon as its
//!   gradient is there, in the middle of the backward pass; with
//!   [`shared_grads`](Builder::shared_grads) the next layer's gradients take the memory of its own.
//! - **Statistics**: [`read_statistics`](Optimizer::read_statistics). A loop that skips every step
//!   looks like one that trains: act on [`skipped_in_row`](Statistics::skipped_in_row).
//! - **Checkpoints**: [`save`](optimizer::Optimizer::save) and [`load`](optimizer::Optimizer::load)
//!   write and read one file, after which a run goes on to the bit; see [`checkpoint`].
//!
//! In a step gradients are unscaled and averaged, then tested, then clipped by the norm, then by
//! value. What is not asked for is in no kernel. Clipping by value, averaging and zeroing take no
//! dispatch; what needs to know all gradients takes one more read of them and two small dispatches.
//!
//! # Schedules
//!
//! [`schedule`] has learning-rate schedules as functions of the step, to be composed and saved:
//! `optimizer.set_lr(group, schedule.lr(step))?` before each step.
//!
//! # Features
//!
//! - `rayon` (default): [`CpuOptimizer::par_step`].
//! - `checkpoint` (default): saving and loading.
//! - `serde`: schedules serialise and deserialise.
//!
//! wgpu's backends are your choice: depend on `wgpu` with the ones you want. It is re-exported as
//! [`wgpu`](mod@wgpu), and there is one major version of this crate for each of wgpu's.

// What checkpoints alone use stays where it is without them.
#![cfg_attr(not(feature = "checkpoint"), allow(dead_code, unused_imports))]
// Users read the documentation before the code, and what a function can fail with is part of it.
#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]
// A panic here would be one in the caller's training loop.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout))]

#[cfg(feature = "checkpoint")]
pub mod checkpoint;
mod control;
mod cpu;
mod error;
mod gpu;
mod layout;
mod model;
pub mod open_step;
pub mod optimizer;
mod rule;
pub mod rules;
pub mod schedule;
mod shader;

pub use control::{GradScaler, NonFinite, ParameterNorms, ParameterStatistics, Statistics};
pub use cpu::Cpu;
pub use error::{Check, Error};
pub use gpu::{Gpu, Place, Readback, Slice};
pub use model::{Format, ParamId, ParamInfo, ParamKey, Rounding, Shape, Storage, Values, pattern};
pub use ndarray;
pub use rule::{
    After, Before, DynRule, Fields, Hyperparameter, NoSums, Number, Pass, Real, Rule, StateInit,
    Step, SumInit, SumKind,
};
#[doc(inline)]
pub use rules::types::*;
pub use wgpu;

/// A fused optimizer on the GPU: updates all parameters of a model in a few dispatches, recorded
/// into commands of yours.
///
/// It owns its states; parameters and gradients stay in your buffers
/// ([`buffers`](optimizer::Param::buffers)) or in an arena of its own. After
/// [`build`](optimizer::Builder::build) nothing is compiled, submitted, polled or waited for,
/// except where a method says that it submits; nothing is created but tables and bind groups in the
/// first step after something moved, was added or frozen.
///
/// What is recorded must be submitted: the optimizer counts a step when it records it. Steps
/// recorded one after another take effect in the order of their submission, each with the learning
/// rate it was recorded with, however many share a submission. Tables and step counts that changed
/// are recorded with each step until one of them is known to have run, so that dropped commands
/// lose nothing but their own step.
pub type Optimizer = optimizer::Optimizer<Gpu>;

/// Builds an [`Optimizer`]: [`optimizer::Builder`] has the methods.
pub type Builder = optimizer::Builder<Gpu>;

/// A parameter of an [`Optimizer`]: one named tensor of the model, with its gradient.
///
/// A name and a shape make a parameter of the arena, which the optimizer allocates; that is the
/// fastest place. [`buffers`](optimizer::Param::buffers) uses the buffers of your engine.
pub type Param = model::Param<Place>;

/// The same optimizer on the CPU, over `f32` (as the GPU computes) or `f64` (the reference).
///
/// It owns parameters, gradients and states.
///
/// ```
/// use wgpu_optim::{CpuOptimizer, SGD};
/// let mut optimizer = CpuOptimizer::<f64>::builder()
///     .group(SGD { lr: 0.5, ..Default::default() }, [("w", 2)])
///     .build()?;
/// optimizer.set_param("w", &[1.0, -3.0])?;
/// for _ in 0..50 {
///     let gradient = optimizer.param("w")?.to_owned(); // of ½w²
///     optimizer.set_grad("w", &gradient)?;
///     optimizer.step()?;
/// }
/// assert!(optimizer.param("w")?.iter().all(|w| w.abs() < 1e-12));
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
pub type CpuOptimizer<T> = optimizer::Optimizer<Cpu<T>>;

/// A step of an [`Optimizer`] that is recorded in parts.
pub type OpenStep<'a> = open_step::OpenStep<'a, Gpu>;

/// A step of a [`CpuOptimizer`] that is taken in parts.
pub type CpuOpenStep<'a, T> = open_step::OpenStep<'a, Cpu<T>>;

/// Builds a [`CpuOptimizer`]: [`optimizer::Builder`] has the methods.
pub type CpuBuilder<T> = optimizer::Builder<Cpu<T>>;

/// What the crate's own tests and benches look into. Not a part of the API: it changes without
/// notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::layout::{
        formats, geometry, kernels, limits, pages, phases, placement, plan, sums,
    };
    pub use crate::model::{Codec, Formats, Keeping};
    pub use crate::rule::{
        AnyRun, AnyView, Instruction, MAX_INPUTS, MAX_INSTRUCTIONS, MAX_OUTPUTS, MAX_SCALARS,
        Operation, Program, Run, View, exp_m1, power, real_power,
    };
    pub use crate::shader::{
        Binding, Extras, Fixed, Group, Resource, RuleKernel, Shader, SumOf, fixed, rule_kernel,
        storage_buffers,
    };
}
