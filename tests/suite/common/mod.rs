//! What the tests share.

pub mod cases;
pub mod exact;
pub mod facts;
pub mod fuzz;
pub mod gpu;
pub mod hyper;
pub mod limits;
pub mod model;
pub mod random;
pub mod steps;
