//! Fused optimizers for Burn on wgpu.
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
