//! The numbers that coefficients are computed in: f64 on the host, or a recording of the same
//! operations that the GPU replays where it alone knows how many steps were taken.

use crate::rule::power::power;
use std::ops::{Add, Div, Mul, Sub};

/// A number of a rule's coefficients: an f64, or a place in a recorded program. Both compute with
/// f64's accuracy and round alike, so that they give the same bits.
pub trait Number:
    Copy + From<f64> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The square root.
    fn sqrt(self) -> Self;
    /// `yes` where this number is above `limit`, otherwise `no`. Both are computed.
    fn if_above(self, limit: Self, yes: Self, no: Self) -> Self;
    /// `base` to the power of this number, which is a step.
    #[doc(hidden)]
    fn power_of(self, base: f64) -> Self;
}

/// A step, counted from 1.
#[derive(Debug, Clone, Copy)]
pub struct Step<N>(N);

impl<N: Number> Step<N> {
    /// The step of this number.
    pub(crate) fn new(number: N) -> Self {
        Self(number)
    }

    /// t, as a number to compute with.
    pub fn number(self) -> N {
        self.0
    }

    /// `base`ᵗ.
    pub fn power(self, base: f64) -> N {
        self.0.power_of(base)
    }
}

impl Number for f64 {
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    fn if_above(self, limit: Self, yes: Self, no: Self) -> Self {
        if self > limit { yes } else { no }
    }
    fn power_of(self, base: f64) -> Self {
        power(base, self as u32)
    }
}
