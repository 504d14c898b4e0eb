//! What a rule is: the trait, its numbers, its loops over elements, and how its type is erased.

mod around;
mod erased;
mod fields;
mod formula;
mod functions;
mod hyperparameters;
mod loops;
mod number;
mod power;
mod program;
mod real;
mod run;

pub use around::{After, Before};
pub(crate) use around::{Around, either_decay};
pub use erased::DynRule;
pub use fields::Fields;
pub(crate) use formula::{MAX_STATES, MAX_SUMS};
pub use formula::{NoSums, Pass, Rule, StateInit, SumInit, SumKind};
pub use functions::{MAX_EXPONENT, exp_m1, real_power};
pub use hyperparameters::Hyperparameter;
pub use number::{Number, Step};
pub use power::power;
pub use program::{
    Instruction, MAX_INPUTS, MAX_INSTRUCTIONS, MAX_OUTPUTS, MAX_SCALARS, Operation, Program,
};
pub use real::Real;
pub use run::{AnyRun, AnyView, Run, View};
