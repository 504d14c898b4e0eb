//! What is known of a parameter, beside what the twins know.

use crate::machine::pool::At;
use wgpu_optim::internals::{Codec, Formats};

/// Where a parameter and its gradient are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Arena,
    Caller([At; 2]),
    Nowhere,
}

/// What is known of a parameter, beside what the twins know.
pub struct Known {
    pub name: String,
    pub len: usize,
    pub formats: Formats,
    /// All states by name, with what is kept beside a 16-bit parameter as the last.
    pub states: Vec<&'static str>,
    pub place: Where,
    pub grad: Vec<f32>,
}

impl Known {
    pub fn codecs(&self) -> [Codec; 2] {
        [self.formats.param, self.formats.grad]
    }
}

/// Whether the host can write such an array.
pub fn whole_words(codec: Codec, at: At, len: usize) -> bool {
    let end = at.byte as u64 + codec.bytes(len as u64);
    len == 0 || at.byte.is_multiple_of(4) && end.is_multiple_of(4)
}
