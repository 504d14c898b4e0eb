//! From Burn's tensors to the wgpu buffers that hold them.
//!
//! A step changes a parameter's bytes in place, which is allowed only if nobody else can see them.
//! Burn counts owners at two levels, of a tensor and of an allocation; where either count is above
//! one, the parameter gets a copy in memory of its own first, and the others keep the old.

mod allocation;
#[cfg(feature = "fusion")]
mod fusion;
#[cfg(not(feature = "fusion"))]
mod no_fusion;
mod search;

pub(crate) use allocation::{Allocations, primitive};
pub(crate) use search::{Name, Search, unshared};
