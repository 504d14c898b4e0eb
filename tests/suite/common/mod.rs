//! What the tests share.

pub mod cases;
pub mod exact;
pub mod gpu;
pub mod model;
pub mod random;
