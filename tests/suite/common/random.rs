//! Reproducible numbers of all magnitudes.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of either sign whose magnitude is anywhere from 10^low to 10^high; one in ten is 0,
    /// one in twenty −0.
    pub fn wide(&mut self, low: f64, high: f64) -> f32 {
        match self.next() % 20 {
            0 | 1 => 0.0,
            2 => -0.0,
            _ => {
                let magnitude = 10f64.powf(low + (high - low) * self.unit());
                let sign = if self.next().is_multiple_of(2) { 1.0 } else { -1.0 };
                (sign * magnitude) as f32
            }
        }
    }

    pub fn wide_vec(&mut self, len: usize, low: f64, high: f64) -> Vec<f32> {
        (0..len).map(|_| self.wide(low, high)).collect()
    }
}
