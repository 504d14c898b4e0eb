//! Who takes part in a step: parameters, groups, step counts, names. What every optimizer keeps,
//! wherever it computes.

mod counts;
mod groups;
mod names;
mod param;
pub mod pattern;
mod storage;
mod swapped;
mod values;

pub(crate) use counts::{Count, MAX_STEPS, Origin};
pub use groups::Model;
pub(crate) use groups::{Group, Member};
pub use names::{ParamId, ParamKey};
pub use param::{Param, ParamInfo, Shape};
pub use storage::{Code, Codec, Format, Formats, Keeping, Map, Rounding, Storage};
pub use values::Values;
