//! How an engine's arrays get to the host and back as they are stored, for checkpoints.

use crate::control::Scale;
use crate::error::Error;
use crate::model::Model;
use crate::optimizer::arrays::{Array, ArrayRange};
use std::future::Future;

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

/// Something on its way to the host that can be waited for, not only be `.await`ed. Everything but
/// what a browser's GPU sends.
#[doc(hidden)]
pub trait Wait: Future<Output = Result<Fetched, Error>> {
    /// Waits for it.
    fn wait(self) -> Result<Fetched, Error>;
}

/// An engine's side of it. Numbers of ranges and bytes were checked.
#[doc(hidden)]
pub trait Transfer {
    /// What is on its way to the host.
    #[cfg(not(target_arch = "wasm32"))]
    type Fetch: Future<Output = Result<Fetched, Error>> + Unpin + Wait;
    /// What is on its way to the host.
    #[cfg(target_arch = "wasm32")]
    type Fetch: Future<Output = Result<Fetched, Error>> + Unpin;

    /// Starts to copy ranges of arrays, and the head if it is asked for.
    fn fetch(
        &self,
        model: &Model,
        ranges: &[ArrayRange],
        with_head: bool,
    ) -> Result<Self::Fetch, Error>;
    /// Refuses an array that the host cannot set.
    fn check_put(&self, model: &Model, param: usize, array: Array) -> Result<(), Error>;
    /// Sets the elements of a range.
    fn put(&mut self, model: &Model, range: &ArrayRange, bytes: &[u8]) -> Result<(), Error>;
    /// Hands over what was put so far, so that memory for it stays bounded.
    fn flush(&mut self) -> Result<(), Error>;
    /// Sets the loss scale, and what goes with it.
    fn set_scale(&mut self, scale: Scale) -> Result<(), Error>;
}
