//! Which of a parameter's arrays is meant, and which of its elements.

use crate::model::{Codec, Model};
use std::ops::Range;

/// One of a parameter's arrays.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Array {
    Param,
    Grad,
    /// The n-th state in use.
    State(usize),
}

/// Consecutive elements of one of a parameter's arrays, from the start of a block on.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayRange {
    pub param: usize,
    pub array: Array,
    pub elements: Range<u64>,
}

impl Array {
    /// How a parameter's array is coded.
    pub(crate) fn codec(self, model: &Model, param: usize) -> Codec {
        let formats = &model.params[param].formats;
        match self {
            Self::Param => formats.param,
            Self::Grad => formats.grad,
            Self::State(state) => formats.states.as_slice()[state],
        }
    }
}
