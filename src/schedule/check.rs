//! Checks that schedules share.

use crate::error::{Check, Error};

impl Check<'_> {
    /// A learning rate, or a number that one is multiplied by.
    pub(super) fn rate(self, parameter: &str, value: f64) -> Self {
        self.that(
            value.is_finite() && value >= 0.0,
            parameter,
            "a finite number of at least 0",
            value,
            "Give such a value; a rate of 0 stands still",
        )
    }

    /// A number that is divided by.
    pub(super) fn divisor(self, parameter: &str, value: f64) -> Self {
        self.that(
            value.is_finite() && value > 0.0,
            parameter,
            "a finite number above 0",
            value,
            "Give such a value; the rate is divided by it",
        )
    }

    /// A number of steps that something lasts.
    pub(super) fn steps(self, parameter: &str, value: u64) -> Self {
        self.that(value >= 1, parameter, "at least 1", value, "Give the number of steps it lasts")
    }

    /// The momenta of a cycle.
    pub(super) fn momenta(self, base: f64, max: f64) -> Self {
        self.decay_rate("base_momentum", base).decay_rate("max_momentum", max).that(
            max >= base,
            "max_momentum",
            "at least `base_momentum`",
            max,
            "Give the smaller momentum as `base_momentum`: it goes with the largest rate",
        )
    }
}

/// Tells which part of a composition was refused.
pub(super) fn within(place: &str, result: Result<(), Error>) -> Result<(), Error> {
    result.map_err(|error| match error {
        Error::Hyperparameter { rule, parameter, expected, found, remedy } => {
            let rule = format!("{place}: {rule}");
            Error::Hyperparameter { rule, parameter, expected, found, remedy }
        }
        other => other,
    })
}
