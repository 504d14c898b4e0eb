//! Tests against Burn's own optimizers, on the default adapter of the machine.

mod burn_records;
mod checkpoints;
mod common;
mod errors;
mod groups;
mod learner;
mod many;
mod matches_burn;
mod order;
mod ownership;
mod rates;
mod rules;
mod states;
