//! Schedules give PyTorch's rates (`tests/schedules/generate.py`), keep what they promise at any
//! step, refuse what has no meaning, and survive being saved.

mod generated;
mod properties;
mod pytorch;
mod refusals;
#[cfg(feature = "serde")]
mod saving;
