//! The numbers that cases start from, the same in every run.

use std::sync::LazyLock;

/// Lengths around a thread, a vec4 and a block, and one of several blocks.
pub const SHORT: [usize; 8] = [1, 3, 4, 255, 256, 257, 1023, 4097];

/// The same, and one that needs several bindings or buffers where limits are low, and several
/// chunks on the CPU.
pub const LONG: [usize; 9] = [1, 3, 4, 255, 256, 257, 1023, 4097, 65_537];

/// Steps that there are gradients for.
pub const STEPS: usize = 5;

/// Gradients of all magnitudes that squares leave in f32's range, and in every other step such as
/// change parameters' last bits.
pub static WIDE: LazyLock<Data> = LazyLock::new(|| Data::new([(-4.0, 2.0), (-18.0, 18.0)]));

/// Gradients of about one another's size, for what depends on all of them.
pub static MILD: LazyLock<Data> = LazyLock::new(|| Data::new([(-2.0, 2.0), (-2.0, 2.0)]));

/// Parameters and gradients of the lengths in [`LONG`].
#[derive(Debug)]
pub struct Data {
    pub params: Vec<Vec<f64>>,
    /// Of each step.
    pub grads: Vec<Vec<Vec<f64>>>,
}

impl Data {
    /// Gradients' magnitudes are between these powers of ten, in turns.
    fn new(powers: [(f64, f64); 2]) -> Self {
        let mut random = Random(7);
        let mut arrays =
            |(low, high)| LONG.map(|len| random.wide_vec(len, low, high)).into_iter().collect();
        Self {
            params: arrays((-6.0, 3.0)),
            grads: powers.into_iter().cycle().take(STEPS).map(arrays).collect(),
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of either sign whose magnitude is anywhere from 10^low to 10^high; one in ten is 0,
    /// one in twenty −0.
    fn wide(&mut self, low: f64, high: f64) -> f64 {
        match self.next() % 20 {
            0 | 1 => 0.0,
            2 => -0.0,
            _ => {
                let magnitude = 10f64.powf(low + (high - low) * self.unit());
                if self.next().is_multiple_of(2) { magnitude } else { -magnitude }
            }
        }
    }

    fn wide_vec(&mut self, len: usize, low: f64, high: f64) -> Vec<f64> {
        (0..len).map(|_| self.wide(low, high)).collect()
    }
}
