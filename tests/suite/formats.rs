//! Parameters and gradients in 16 bits, states in 16 and 8: codecs bit for bit, steps against
//! libraries and against the CPU, the same bits wherever arrays are, and no byte of others'.

mod bitsandbytes;
pub mod bounds;
mod codecs;
mod drift;
mod golden;
mod host;
pub mod model;
mod twins;

use wgpu_optim::{Format, Rounding, Storage};

/// Storage that between them has every format and every way to keep a parameter.
pub fn storages() -> [Storage; 10] {
    let bf16 = Storage::bf16;
    [
        bf16(Rounding::Remainder),
        bf16(Rounding::Stochastic { seed: 7 }).grads(Format::F32).states(Format::Block8),
        Storage::f16(Rounding::Kahan).states(Format::Bf16),
        Storage::f32().states(Format::Block8),
        Storage::f16(Rounding::Master).grads(Format::Bf16).states(Format::F16),
        bf16(Rounding::Nearest),
        Storage::f32().grads(Format::F16),
        bf16(Rounding::Master).states(Format::Block8),
        bf16(Rounding::Kahan).grads(Format::F32),
        Storage::f32().states(Format::Companded8),
    ]
    .map(|storage| storage.min_block8(0))
}
