//! How an engine's arrays get to the host and back as they are stored, for checkpoints.

use crate::control::Scale;
use crate::error::Error;
use crate::model::{Codec, Model};
use crate::optimizer::{Array, Engine};
use std::future::Future;
use std::ops::Range;

/// Consecutive elements of one of a parameter's arrays, from the start of a block on.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayRange {
    pub param: usize,
    pub array: Array,
    pub elements: Range<u64>,
}

/// What was fetched.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Fetched {
    /// The elements of all ranges as they are stored, one after another.
    pub bytes: Vec<u8>,
    /// Each parameter's step count with its scalars, and the loss scale, if asked for.
    pub head: Option<Head>,
    /// Whether some step was recorded and has not run yet, so that counts and arrays are not of the
    /// same step.
    pub is_behind: bool,
}

/// What decides a run beside arrays and settings.
#[doc(hidden)]
#[derive(Debug)]
pub struct Head {
    pub(crate) counts: Vec<(u64, Vec<f64>)>,
    pub(crate) scale: Scale,
}

/// Something on its way to the host: to be waited for, or to be `.await`ed.
#[doc(hidden)]
pub trait Wait: Future<Output = Result<Fetched, Error>> + Unpin {
    /// Waits for it.
    fn wait(self) -> Result<Fetched, Error>;
}

/// An engine's side of it. Numbers of ranges and bytes were checked.
#[doc(hidden)]
pub trait Transfer {
    type Fetch: Wait;

    /// Starts to copy ranges of arrays, and the head if it is asked for.
    fn fetch(
        &self,
        model: &Model,
        ranges: &[ArrayRange],
        with_head: bool,
    ) -> Result<Self::Fetch, Error>;
    /// Whether ranges of an array can be set by themselves.
    fn can_put(&self, model: &Model, param: usize, array: Array) -> bool;
    /// Sets the elements of a range.
    fn put(&mut self, model: &Model, range: &ArrayRange, bytes: &[u8]) -> Result<(), Error>;
    /// Hands over what was put so far, so that memory for it stays bounded.
    fn flush(&mut self) -> Result<(), Error>;
    /// Sets the loss scale, and what goes with it.
    fn set_scale(&mut self, scale: Scale) -> Result<(), Error>;
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

/// Bytes that so many elements take in an engine: as coded, or in the engine's own type where that
/// is f32.
pub(crate) fn stored_bytes<E: Engine>(codec: Codec, elements: u64) -> u64 {
    match codec {
        Codec::F32 => elements * size_of::<E::Element>() as u64,
        codec => codec.bytes(elements),
    }
}
