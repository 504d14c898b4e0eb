//! The floating-point types that the CPU computes in.

use crate::rule::run::{AnyRun, AnyView, Run, View};
use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A floating-point type that the CPU computes in: `f32`, as the GPU does, or `f64`, the reference.
///
/// Sealed: these two are all there are.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + bytemuck::Pod
    + sealed::Sealed
    + 'static
{
    /// Rounds a coefficient to this type.
    fn from_f64(x: f64) -> Self;
    /// Widens to f64, exactly.
    fn to_f64(self) -> f64;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The larger of two numbers.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers.
    fn min(self, other: Self) -> Self;
    /// −1, 0 or 1, as WGSL's and PyTorch's `sign` (Rust's `signum` has no 0); NaN of a NaN.
    fn sign(self) -> Self;
    /// Erases the type of a run.
    #[doc(hidden)]
    fn any_run(run: Run<'_, Self>) -> AnyRun<'_>;
    /// Erases the type of a view.
    #[doc(hidden)]
    fn any_view(view: View<'_, Self>) -> AnyView<'_>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! real {
    ($type:ident, $variant:ident) => {
        impl Real for $type {
            fn from_f64(x: f64) -> Self {
                x as $type
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn max(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            fn min(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else if self == 0.0 {
                    0.0
                } else {
                    self
                }
            }
            fn any_run(run: Run<'_, Self>) -> AnyRun<'_> {
                AnyRun::$variant(run)
            }
            fn any_view(view: View<'_, Self>) -> AnyView<'_> {
                AnyView::$variant(view)
            }
        }
    };
}
real!(f32, F32);
real!(f64, F64);
