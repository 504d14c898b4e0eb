//! What must hold, a room each. Tests need an adapter and say so if there is none; Mesa's lavapipe
//! will do (`scripts/test` installs it).

mod changes;
mod common;

mod control;
mod control_golden;
mod equivalence;
mod errors;
mod golden;
mod large;
mod learning;
mod memory;
mod papers;
mod plans;
mod readme;
mod recording;
mod schedules;
mod shaders;
mod tester;
mod trust;
mod wide;
