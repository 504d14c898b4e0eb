//! Checkpoints: stop anywhere, resume to the bit; bring a run from PyTorch and take it back.
mod apply;
mod arrays;
mod chunks;
mod contents;
mod describe;
mod draft;
mod dtype;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod header;
mod input;
mod keys;
mod load;
mod nearest;
mod numbers;
mod options;
mod plan;
mod save;
mod settings;
mod snapshot;
mod told;
mod verify;
mod writes;

pub use chunks::Chunks;
pub use dtype::Dtype;
pub use header::Tensor;
pub use load::{Load, Loaded};
pub use save::Save;
pub use snapshot::{
    ControlSnapshot, GroupSnapshot, HyperparameterValue, ParameterSnapshot, ScalerSnapshot,
    Snapshot,
};
