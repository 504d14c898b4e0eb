//! Tests against Burn's own optimizers, on whatever adapter is there.

mod common;
mod errors;
mod groups;
mod learner;
mod many;
mod matches_burn;
mod order;
mod ownership;
mod rules;
mod states;
