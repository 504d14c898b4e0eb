//! Hostile circumstances: whatever happens to a device, its buffers and its commands, calls of the
//! optimizer give an `Err` or do their work, never panic, and a correct step follows where there is
//! a device for it.

mod buffers;
mod commands;
mod common;
mod foreign;
mod lost;
mod memory;
mod refusals;
