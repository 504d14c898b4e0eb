//! The optimizer on the GPU: the only folder of the crate that names wgpu.

mod blocks;
#[cfg(target_arch = "wasm32")]
mod browser;
mod buffers;
mod build;
mod commands;
mod compile;
mod decision;
mod engine;
mod group_layout;
mod guard;
mod mix;
mod moving;
mod open_step;
mod parts;
mod place;
mod probe;
mod read;
mod read_all;
mod readback;
mod ring;
mod scratch;
mod step;
mod swap;
mod tables;
mod transfer;
mod uploads;
mod write;
mod zeroing;

pub use engine::Gpu;
pub use place::{Place, Slice};
pub use readback::Readback;
