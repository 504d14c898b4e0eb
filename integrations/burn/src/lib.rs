//! Fused optimizers for [Burn](https://burn.dev) on wgpu: the whole model's step in a few dispatches of
//! [`wgpu_optim`], on the buffers that Burn's tensors lie in.
//!
//! ```no_run
//! use burn::optim::AdamConfig;
//! use burn::tensor::Device;
//! use wgpu_optim_burn::{Fuse, init_device};
//!
//! let device = init_device(Device::wgpu_options())?.autodiff(); // instead of `Device::default().autodiff()`
//! let mut optimizer = AdamConfig::new().init_fused(); // instead of `AdamConfig::new().init()`
//! // model = optimizer.step(lr, model, grads), as before
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **The device** must be made by [`init_device`], or announced by [`share_device`] if the application owns it: Burn
//!   hands out a device's wgpu handles only when it is made. Do it before the first tensor.
//! - **The rule**: Burn's configs of Adam, AdamW, AdaGrad, RMSprop, SGD, Lion and LAMB by [`Fuse`], with
//!   Burn's hyperparameters and defaults; any of [`rules`] and any rule of one's own by [`FusedConfig`].
//! - **Groups** by module path or id, and clipping by the global norm: [`FusedConfig`].
//! - **Learning rates** are numbers or what Burn's schedulers give, also by group.
//! - **Records** are Burn's `OptimizerRecord`, saved and loaded as Burn's are; a resumed run is the uninterrupted one
//!   bit for bit.
//!
//! # What a step does to memory
//!
//! Parameters are updated where they lie. One whose memory somebody else can see (a clone of the model, a
//! view, a checkpoint) moves first, so that only the module that was given to the step changes. Keep no clone across a step
//! for speed. Nothing waits for the device: Burn's pending work is submitted before the step, and the step before
//! Burn's later work.
//!
//! A parameter of up to 262 144 elements also moves at its first step: Burn initializes each parameter of a module
//! in a buffer of its own, and those that lie in one buffer share a dispatch.
//!
//! As in Burn, a parameter without a gradient stays as it is with its states, of a parameter that a module holds
//! twice the first place is updated, and each parameter counts its own steps.
//!
//! # In Burn's `Learner`
//!
//! `Learner` holds Burn's own `ModuleOptimizer`, and nothing else fits there; but it lets the model take the step.
//! Hold the optimizer in the model and override `TrainStep::optimize`:
//!
//! ```text
//! #[derive(Module, Debug)]
//! struct Model {
//!     // …
//!     #[module(skip)]
//!     optimizer: Arc<Mutex<FusedOptimizer>>,
//! }
//!
//! impl TrainStep for Model {
//!     // …
//!     fn optimize(self, _: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
//!         let optimizer = self.optimizer.clone();
//!         let mut optimizer = optimizer.lock().unwrap();
//!         optimizer.step(lr, self, grads)
//!     }
//! }
//! ```
//!
//! Two things differ there from a loop of one's own. The `Learner`'s checkpoints hold its own optimizer's state, which is
//! empty: save [`FusedOptimizer::to_record`] beside them. And it steps a clone of its model, so that every parameter is
//! copied in every step.
//!
//! # Limits
//!
//! - f32 parameters on wgpu devices. Others are refused by name.
//! - Each device of a model that is spread over several has its own global norm.
//! - Where the learning rates of parameters that were the same begin to differ, the optimizer is built anew, and states
//!   pass through the host: slow, but right.
//! - `step` runs on the thread whose tensors it is given, as all of Burn does.
//!
//! # Features
//!
//! `fusion` and `autotune` (default) are Burn's. `fusion` must be on here exactly if it is on in Burn.

#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

mod collect;
mod config;
mod device;
mod engine;
mod error;
mod fuse;
mod optimizer;
mod seam;
mod state;

pub use config::FusedConfig;
pub use device::{init_device, share_device};
pub use error::{Error, Refused};
pub use fuse::Fuse;
pub use optimizer::FusedOptimizer;
pub use wgpu_optim;
pub use wgpu_optim::rules;
