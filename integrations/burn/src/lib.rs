//! Fused optimizers for [Burn](https://burn.dev) on wgpu: [`wgpu_optim`] updates the whole model in
//! a few dispatches, in the buffers that hold Burn's tensors.
//!
//! ```no_run
//! use burn::optim::AdamConfig;
//! use burn::tensor::Device;
//! use wgpu_optim_burn::{Fuse, init_device};
//!
//! // Instead of `Device::default().autodiff()`:
//! let device = init_device(Device::wgpu_options())?.autodiff();
//! // Instead of `AdamConfig::new().init()`:
//! let mut optimizer = AdamConfig::new().init_fused();
//! // As before: model = optimizer.step(lr, model, grads)
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **The device** must be made by [`init_device`], or announced by [`share_device`] if the
//!   application owns it: Burn hands out a device's wgpu handles only when it is made. Do it before
//!   the first tensor.
//! - **The rule**: Burn's configs of Adam, AdamW, AdaGrad, RMSprop, SGD, Lion and LAMB by [`Fuse`],
//!   with Burn's hyperparameters and defaults; any of [`rules`] and any rule of your own by
//!   [`FusedConfig`].
//! - **Groups** by module path or id, and clipping by the global norm: [`FusedConfig`].
//! - **Learning rates** are numbers or what Burn's schedulers give, also by group; which parameters
//!   share a rate may change from step to step.
//! - **Checkpoints** hold everything that decides how the run goes on, by module path and in the
//!   format of [`wgpu_optim::checkpoint`]: [`FusedOptimizer::save_checkpoint`],
//!   [`FusedOptimizer::load_checkpoint`]. A resumed run equals the uninterrupted one bit for bit.
//! - **Records** are Burn's `OptimizerRecord`, saved and loaded as Burn's are, with the same in
//!   them, by id. Records of Burn's own optimizers are taken over.
//!
//! # What a step does to memory
//!
//! Parameters are updated in place. One whose memory somebody else can see (a clone of the model, a
//! view, a checkpoint) is copied first, so that only the module that was given to the step changes.
//! For speed, keep no clone across a step. Nothing waits for the device: Burn's pending work is
//! submitted before the step, and the step before Burn's later work.
//!
//! A parameter of up to 262 144 elements is also copied at its first step: Burn initializes each
//! parameter of a module in a buffer of its own, and parameters in one buffer share a dispatch.
//!
//! As in Burn, a parameter without a gradient stays as it is, and so do its states; of a parameter
//! that a module holds twice, the first is updated; and each parameter counts its own steps.
//!
//! # In Burn's `Learner`
//!
//! `Learner` takes Burn's own `ModuleOptimizer` and no other type, but it lets the model take the
//! step. Hold the optimizer in the model and override `TrainStep::optimize`:
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
//!     fn optimize(
//!         self,
//!         _: &mut ModuleOptimizer,
//!         lr: ModuleLearningRate,
//!         grads: GradientsParams,
//!     ) -> Self {
//!         let optimizer = self.optimizer.clone();
//!         let mut optimizer = optimizer.lock().unwrap();
//!         optimizer.step(lr, self, grads)
//!     }
//! }
//! ```
//!
//! Two things differ there from a loop of your own. The checkpoints of the `Learner` hold the state
//! of its own optimizer, which is empty: save [`FusedOptimizer::to_record`] beside them. And it
//! steps a clone of its model, so that every parameter is copied in every step.
//!
//! # Limits
//!
//! - f32 parameters on wgpu devices. Others are refused by name.
//! - Each device of a model that is spread over several has its own global norm.
//! - `step` runs on the thread whose tensors it is given, as all of Burn does.
//!
//! # Features
//!
//! `fusion` and `autotune` (default) are Burn's. `fusion` must be on here exactly if it is on in
//! Burn.

#![warn(missing_docs, missing_debug_implementations, clippy::missing_errors_doc)]

mod arrays;
mod burn_names;
mod checkpoint;
mod collect;
mod config;
mod device;
mod engine;
mod error;
mod fuse;
mod loaded;
mod memory;
mod optimizer;
mod record;
mod state;

pub use config::FusedConfig;
pub use device::{init_device, share_device};
pub use error::{Error, Refused};
pub use fuse::Fuse;
pub use optimizer::FusedOptimizer;
pub use wgpu_optim;
pub use wgpu_optim::rules;
