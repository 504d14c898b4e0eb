//! A hash of numbers' bits.

/// 64-bit FNV-1a (Fowler, Noll and Vo).
#[derive(Debug, Clone, Copy)]
pub struct Hash(pub u64);

impl Hash {
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub fn numbers<'a, T: Number>(&mut self, numbers: impl IntoIterator<Item = &'a T>) {
        numbers.into_iter().for_each(|number| number.hash(self));
    }
}

/// A number of either precision. All NaN count as one: which of two a sum takes over is open.
pub trait Number: Copy + 'static {
    fn hash(self, hash: &mut Hash);
}

impl Number for f32 {
    fn hash(self, hash: &mut Hash) {
        let bits = if self.is_nan() { Self::NAN.to_bits() } else { self.to_bits() };
        hash.bytes(&bits.to_le_bytes());
    }
}

impl Number for f64 {
    fn hash(self, hash: &mut Hash) {
        let bits = if self.is_nan() { Self::NAN.to_bits() } else { self.to_bits() };
        hash.bytes(&bits.to_le_bytes());
    }
}
