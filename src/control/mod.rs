//! What surrounds a step: clipping, loss scaling, skipping, statistics.
//!
//! Without any of it a step uploads a verdict that the host knows (the factor of averaging, the
//! limit of clipping by value) and updates. Where something must be known of all gradients first,
//! the device decides, and nothing is read back:
//!
//! 1. measure: the squares, the largest magnitude and the non-finite elements of each block's
//!    gradients, added up to a few entries;
//! 2. decide (`shaders/passes/decide.wgsl`; on the CPU [`verdict`]): from these and the loss scale
//!    follow the norm, the factor of all gradients, and whether the step is skipped: the verdict;
//! 3. the step counts that take part move on, unless the step is skipped, and each one's
//!    coefficients are computed from its count, in exact f64, by a program that the host recorded
//!    ([`request`]);
//! 4. the update reads verdict and coefficients, and changes nothing if the step is skipped;
//! 5. what is kept for the host is read on demand and decoded ([`statistics`]).

mod request;
mod scaler;
mod settings;
mod statistics;
mod verdict;

pub(crate) use request::{COUNT_BYTES, COUNTS_HEADER_BYTES, COUNTS_WGSL, Request, RequestHeader};
pub use scaler::GradScaler;
pub(crate) use scaler::MAX_SCALE;
pub use settings::Control;
pub(crate) use settings::NormType;
pub use statistics::{NonFinite, ParameterNorms, ParameterStatistics, Statistics};
pub(crate) use statistics::{Report, Source, StepSource, decode};
pub use verdict::Scale;
pub(crate) use verdict::{Measure, Verdict};
