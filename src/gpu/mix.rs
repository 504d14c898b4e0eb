//! A hash of a few numbers in a few cycles, for what is looked up in every step.

use std::hash::{BuildHasherDefault, Hasher};

/// What makes the hashes of a map.
pub(super) type Mixed = BuildHasherDefault<Mix>;

/// The hash so far. Nobody who could choose the numbers gains by collisions.
#[derive(Debug, Default)]
pub(super) struct Mix(u64);

impl Mix {
    fn mix(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.mix(byte.into()));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
