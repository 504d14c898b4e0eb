//! Tests against Burn's own optimizers, on whatever adapter is there.

mod common;
mod matches_burn;
