//! The optimizer and its builder: everything that GPU and CPU share, once. What differs is an
//! [`Engine`]: where elements are, and how a step goes through them.

mod arrays;
mod builder;
mod engine;
mod handle;
mod presets;
mod transfer;

pub use crate::model::Param;
pub use arrays::{Array, ArrayRange};
pub use builder::Builder;
pub use engine::Engine;
pub(crate) use engine::sealed;
pub use handle::Optimizer;
#[doc(hidden)]
pub use transfer::{Fetched, Head, Transfer, Wait};
