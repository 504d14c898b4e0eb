//! Where everything is, and what a step dispatches: plain data, testable without a GPU.

pub mod formats;
pub mod geometry;
pub mod kernels;
pub mod limits;
pub mod pages;
pub mod phases;
pub mod placement;
pub mod plan;
mod spans;
pub mod sums;
pub mod words;
