//! What the crate's own tests know of rules, bounds and kernels.

#![allow(dead_code, reason = "the crate's own tests use all of it")]

#[path = "../../../../tests/suite/formats/bounds.rs"]
pub mod bounds;
#[path = "../../../../tests/suite/common/cases.rs"]
pub mod cases;
#[path = "../../../../tests/suite/common/exact.rs"]
pub mod exact;
#[path = "../../../../tests/suite/common/facts.rs"]
pub mod facts;
#[path = "../../../../tests/suite/common/hyper.rs"]
pub mod hyper;
#[path = "../../../../tests/suite/shaders/list.rs"]
pub mod kernels;
#[path = "../../../../tests/suite/common/limits.rs"]
pub mod limits;
#[path = "../../../../tests/suite/common/random.rs"]
pub mod random;
