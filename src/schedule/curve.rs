//! What every kind of schedule tells.

use crate::error::Error;

/// A schedule of one kind.
pub(super) trait Curve {
    fn lr(&self, step: u64) -> f64;
    /// A momentum that belongs to the rate, for those that cycle one.
    fn momentum(&self, _step: u64) -> Option<f64> {
        None
    }
    fn validate(&self) -> Result<(), Error>;
}
