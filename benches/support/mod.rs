//! What the benches share, one task for each file.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod bench;
pub mod byhand;
pub mod clock;
pub mod copy;
pub mod gpu;
pub mod handwritten;
pub mod machine;
pub mod memory;
pub mod record;
pub mod report;
pub mod series;
pub mod shapes;
pub mod stats;
pub mod targets;
pub mod torch;
pub mod turns;
pub mod values;
pub mod workload;
