//! Checkpoints: stop anywhere, resume to the bit; bring a run from PyTorch and take it back.
//!
//! ```no_run
//! # fn example(optimizer: &mut wgpu_optim::Optimizer) -> Result<(), wgpu_optim::Error> {
//! optimizer.save().user("epoch", "3").file("run.safetensors")?;
//! let loaded = optimizer.load().file("run.safetensors")?;
//! assert_eq!(loaded.user["epoch"], "3");
//! # Ok(())
//! # }
//! ```
//!
//! A checkpoint has everything that decides how a run goes on: parameters, states, what is kept
//! beside 16-bit parameters, step counts from where they are counted, scalars such as NAdam's
//! `mu_product`, rules with all hyperparameters, multipliers, clipping, the loss scale with its
//! tracker, frozen parameters; gradients on demand; and entries of your own, such as a schedule's
//! step. A run that is saved, loaded into a new optimizer and resumed has the bits of one that went
//! on, on the GPU and on the CPU, whatever the grouping, order, placement or device.
//!
//! [`Optimizer::save`](crate::optimizer::Optimizer::save) and
//! [`Optimizer::load`](crate::optimizer::Optimizer::load) start it. Both submit work of their own,
//! and wait for it. In a browser, where nothing can wait, [`Save::bytes_async`] and
//! [`Save::chunks`] are `.await`ed, and [`Load::bytes`] loads. A few chunks of 4 MiB are in memory
//! beside the model, and 32 MiB while it is loaded.
//!
//! # Safety
//!
//! A file is written whole or not at all ([`Save::file`]), and read back only if every array has
//! the CRC-32 that it was written with. Loading reads everything twice: first to check it, and then
//! to change the optimizer; an `Err` lists all that does not fit, and nothing has changed. Names
//! must agree, and rules, options, shapes and formats; what may differ is named by calls of
//! [`Load`]. What was recorded must have run: submit first, then save or load.
//!
//! # The file
//!
//! One [safetensors](https://huggingface.co/docs/safetensors) file, which PyTorch's and Hugging
//! Face's readers open:
//!
//! | key | type | |
//! |---|---|---|
//! | `param.<parameter>` | F32, F16, BF16; F64 of an f64 optimizer | the parameter's shape |
//! | `grad.<parameter>` | as these | by [`Save::grads`] |
//! | `state.<parameter>.<state>` | as these; I16 for `param_remainder` | PyTorch's flattened key |
//! | the same, and with `.absmax` | U8 and F32 | 8 bits: bitsandbytes' codes, a scale for each 256 |
//! | `state.<parameter>.step` | F32, above 2²⁴ I64 | one number |
//! | `state.<parameter>.<scalar>` | F64 | one number |
//! | `checksum` | U8 `[arrays, 4]` | the CRC-32 of each array before it, little-endian |
//!
//! Arrays with the largest elements come first, so that all are aligned. The metadata has `format`
//! = `pt`, `user.<key>` for each entry of yours, and `wgpu_optim`: a [`Snapshot`] as JSON, with the
//! format's version. A reader refuses a later one.
//!
//! # PyTorch
//!
//! No pickle is read here: `scripts/torch_checkpoint.py` makes such a file of what `torch.save`
//! wrote, and back. A file made from PyTorch's has no snapshot but PyTorch's `param_groups`,
//! `optimizer` and `scaler` in the metadata, and is loaded alike: hyperparameters by PyTorch's
//! names, its scaler, step counts of any type; a parameter without a state has taken no step; SGD,
//! which counts none, has taken one or more where it has a momentum buffer. What else the file
//! says, as `scheduler`, is in [`Loaded::metadata`].

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
mod listing;
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
pub use listing::Listing;
pub use load::{Load, Loaded};
pub use save::Save;
pub use snapshot::{
    ControlSnapshot, GroupSnapshot, HyperparameterValue, ParameterSnapshot, ScalerSnapshot,
    Snapshot,
};
