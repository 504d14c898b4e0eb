//! The two test functions, each with one minimum.

use clap::ValueEnum;
use std::ops::Range;

/// A point of the plane.
pub type Point = [f64; 2];

/// A function to minimize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Function {
    /// (1 − x)² + 100 (y − x²)²: a narrow, curved valley with a flat floor
    Rosenbrock,
    /// (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²: plateaus between steep corners
    Beale,
}

impl Function {
    /// The name of its WGSL entry point and of its picture.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rosenbrock => "rosenbrock",
            Self::Beale => "beale",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Rosenbrock => "Rosenbrock’s function",
            Self::Beale => "Beale’s function",
        }
    }

    pub fn formula(self) -> &'static str {
        match self {
            Self::Rosenbrock => "f(x, y) = (1 − x)² + 100 (y − x²)²",
            Self::Beale => "f(x, y) = (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
        }
    }

    pub fn value(self, [x, y]: Point) -> f64 {
        match self {
            Self::Rosenbrock => (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2),
            Self::Beale => beale_terms([x, y]).iter().map(|term| term * term).sum(),
        }
    }

    pub fn gradient(self, [x, y]: Point) -> Point {
        match self {
            Self::Rosenbrock => {
                let off_valley = y - x * x;
                [-2.0 * (1.0 - x) - 400.0 * x * off_valley, 200.0 * off_valley]
            }
            Self::Beale => {
                let [a, b, c] = beale_terms([x, y]);
                [
                    2.0 * (a * (y - 1.0) + b * (y * y - 1.0) + c * (y * y * y - 1.0)),
                    2.0 * x * (a + 2.0 * b * y + 3.0 * c * y * y),
                ]
            }
        }
    }

    /// The only point where the function is 0.
    pub fn minimum(self) -> Point {
        match self {
            Self::Rosenbrock => [1.0, 1.0],
            Self::Beale => [3.0, 0.5],
        }
    }

    /// The start whose path is highlighted.
    pub fn marked_start(self) -> Point {
        match self {
            Self::Rosenbrock => [-1.2, 1.0], // the usual one, from Rosenbrock's paper
            Self::Beale => [1.0, 1.5],
        }
    }

    /// Half the side of the square around the marked start that contains all starts. It is small
    /// enough for moderate gradients: both functions grow with high powers, and gradients are not
    /// clipped.
    pub fn spread(self) -> f64 {
        match self {
            Self::Rosenbrock => 0.5,
            Self::Beale => 0.4,
        }
    }

    /// The part of the plane that the picture shows.
    pub fn view(self) -> [Range<f64>; 2] {
        match self {
            Self::Rosenbrock => [-1.9..1.9, -0.6..2.25],
            Self::Beale => [-0.6..4.2, -1.2..2.4],
        }
    }

    /// The lowest and the highest contour, as powers of 10.
    pub fn contour_exponents(self) -> [f64; 2] {
        match self {
            Self::Rosenbrock => [-1.0, 3.0],
            Self::Beale => [-2.0, 3.0],
        }
    }
}

fn beale_terms([x, y]: Point) -> [f64; 3] {
    [1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y * y * y]
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [Point; 4] = [[-1.2, 1.0], [1.0, 1.5], [0.3, -0.8], [2.1, 0.4]];

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for &function in Function::value_variants() {
            for point in POINTS {
                for axis in 0..2 {
                    let [above, below] = [1e-6, -1e-6].map(|change| {
                        let mut moved = point;
                        moved[axis] += change;
                        function.value(moved)
                    });
                    let slope = (above - below) / 2e-6;
                    let gradient = function.gradient(point)[axis];
                    assert!(
                        (gradient - slope).abs() < 1e-6 * (1.0 + slope.abs()),
                        "{function:?}, axis {axis} at {point:?}: {gradient}, not {slope}"
                    );
                }
            }
        }
    }

    #[test]
    fn minima_are_minima() {
        for &function in Function::value_variants() {
            let [x, y] = function.minimum();
            assert_eq!(function.value([x, y]), 0.0);
            assert_eq!(function.gradient([x, y]).map(f64::abs), [0.0, 0.0]);
            for angle in (0..16).map(|k| f64::from(k) * std::f64::consts::TAU / 16.0) {
                assert!(function.value([x + 0.1 * angle.cos(), y + 0.1 * angle.sin()]) > 0.0);
            }
        }
    }

    #[test]
    fn the_view_shows_all_starts_and_the_minimum() {
        for &function in Function::value_variants() {
            for (axis, range) in function.view().iter().enumerate() {
                let start = function.marked_start()[axis];
                assert!(range.contains(&(start - function.spread())));
                assert!(range.contains(&(start + function.spread())));
                assert!(range.contains(&function.minimum()[axis]));
            }
        }
    }
}
