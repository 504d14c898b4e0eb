//! What must hold, a file a subject. Tests need an adapter and say so if there is none; Mesa's
//! lavapipe will do (`scripts/test` installs it).

mod architecture;
mod around;
mod changes;
mod common;
mod control;
mod control_golden;
mod counts;
mod dropped;
mod equivalence;
mod errors;
mod facts;
mod formats;
mod golden;
mod large;
mod learning;
mod long;
mod memory;
mod momentum;
mod nan;
mod papers;
mod params;
mod phases;
mod plans;
mod reading;
mod readme;
mod recording;
mod scalers;
mod schedules;
mod shaders;
mod step_counts;
mod subgroups;
mod sums;
mod tester;
mod wide;
mod zeroing;
