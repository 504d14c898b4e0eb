//! 8 bits an element and a scale a block, by bitsandbytes' dynamic code, computed instead of looked
//! up: the code's magnitudes are equal steps within seven decades, each with twice as many as the
//! one below. The twin is `shaders/formats/block8.wgsl`.

/// By decade: where it starts, below the largest magnitude of a block, which is 1.
const STARTS: [f64; 7] = [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1];

/// Where it ends.
const ENDS: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0];

/// The reciprocal of its end.
const FACTORS: [f64; 7] = [1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1e0];

/// A decade of a code.
#[derive(Clone, Copy)]
struct Decade {
    /// Numbers above are in this decade or the next.
    bound: f32,
    start: f32,
    /// How many magnitudes it has.
    steps: f32,
    /// How many to a unit.
    factor: f32,
}

/// The decades of a code with so many magnitudes in the lowest.
const fn decades(first: f64) -> [Decade; 7] {
    let mut decades = [Decade { bound: 0.0, start: 0.0, steps: 0.0, factor: 0.0 }; 7];
    let mut d = 0;
    while d < 7 {
        let power = (1 << d) as f64;
        decades[d] = Decade {
            // Halfway between the last magnitude of the decade below and the first of this one.
            bound: (STARTS[d] * (1.0 + 1.8 / power / first)) as f32,
            start: STARTS[d] as f32,
            steps: (first * power) as f32,
            factor: (first * power / 0.9 * FACTORS[d]) as f32,
        };
        d += 1;
    }
    decades
}

const SIGNED: [Decade; 7] = decades(1.0);
const UNSIGNED: [Decade; 7] = decades(2.0);

/// The smallest scale. Smaller ones count as 0, since devices may flush them.
pub const MIN_SCALE: f32 = f32::MIN_POSITIVE;

/// The code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dynamic {
    /// Whether elements may be negative.
    pub signed: bool,
}

impl Dynamic {
    /// Magnitudes of the lowest decade: 1, or 2 where there are no signs.
    fn first(self) -> f32 {
        if self.signed { 1.0 } else { 2.0 }
    }

    /// The code of an element of a block whose largest magnitude is `scale`.
    pub fn encode(self, x: f32, scale: f32) -> u8 {
        if scale < MIN_SCALE || !x.is_finite() {
            return self.zero();
        }
        let magnitude = self.magnitude(x.abs() / scale);
        match (self.signed, x < 0.0) {
            // There is no −1.
            (true, true) => (127 - magnitude.min(127)) as u8,
            (true, false) => (127 + magnitude) as u8,
            // What is above 0 stays so: beside a first moment that is not 0, it divides.
            (false, false) => magnitude.max(u32::from(x > 0.0)) as u8,
            (false, true) => 0,
        }
    }

    /// The code of 0.
    pub fn zero(self) -> u8 {
        if self.signed { 127 } else { 0 }
    }

    /// The index of the magnitude that is nearest: 0 is 0, the last is 1.
    fn magnitude(self, y: f32) -> u32 {
        let first = self.first();
        if y <= (1e-6 * (0.05 + 0.225 / f64::from(first))) as f32 {
            return 0;
        }
        if y > (1.0 - 0.225 / (64.0 * f64::from(first))) as f32 {
            return self.last();
        }
        let decades = if self.signed { &SIGNED } else { &UNSIGNED };
        let above = decades.iter().skip(1).rev().find(|decade| y > decade.bound);
        let Decade { start, steps, factor, .. } = *above.unwrap_or(&decades[0]);
        let k = ((y - start) * factor).floor().clamp(0.0, steps - 1.0);
        (steps + k) as u32 + 1 - first as u32
    }

    /// The index of 1.
    fn last(self) -> u32 {
        if self.signed { 128 } else { 255 }
    }

    /// The element of this code.
    pub fn decode(self, code: u8, scale: f32) -> f32 {
        let code = u32::from(code);
        let (index, negative) = match (self.signed, code < 127) {
            (true, true) => (127 - code, true),
            (true, false) => (code - 127, false),
            (false, _) => (code, false),
        };
        let y = self.value(index) * scale;
        if negative { -y } else { y }
    }

    /// The magnitude of this index.
    fn value(self, index: u32) -> f32 {
        if index == 0 {
            return 0.0;
        }
        if index == self.last() {
            return 1.0;
        }
        let first = self.first() as u32;
        // first·2ᵈ + k + ½: its exponent tells the decade, its significand the place therein.
        let b = (index + first - 1) as f32 + 0.5;
        let decade = (b.to_bits() >> 23) - 127 - (first - 1);
        let significand = f32::from_bits(b.to_bits() & 0x007f_ffff | 0x3f80_0000);
        ENDS[decade as usize] as f32 * (0.9 * (significand - 1.0) + 0.1)
    }
}
