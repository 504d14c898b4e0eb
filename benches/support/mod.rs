//! What the step benchmark is made of, one job a file.

pub mod clock;
pub mod copy;
pub mod gpu;
pub mod handwritten;
pub mod interleaved;
pub mod report;
pub mod workload;
