//! What must hold, a file a subject. Tests need an adapter and say so if there is none; Mesa's
//! lavapipe will do (`scripts/test` installs it).

mod architecture;
mod around;
mod changes;
mod common;
mod control;
mod control_golden;
mod dropped;
mod equivalence;
mod errors;
mod facts;
mod faults;
mod golden;
mod large;
mod learning;
mod memory;
mod papers;
mod params;
mod phases;
mod plans;
mod readme;
mod recording;
mod schedules;
mod shaders;
mod subgroups;
mod sums;
mod tester;
mod wide;
