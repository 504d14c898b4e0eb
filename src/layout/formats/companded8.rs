//! 8 bits an element and a scale a block, companded as FlashOptim's states are: equal steps of
//! 2y/(1 + y), or of √y for states that are never negative, where y is a magnitude divided by its
//! block's largest. The twins are
//! `shaders/formats/companded.wgsl` and `companded_root.wgsl`.

use crate::layout::formats::block8::MIN_SCALE;

/// The index of the largest magnitude, where elements have signs.
const LAST_SIGNED: u32 = 127;

/// The same where they have none.
const LAST_UNSIGNED: u32 = 255;

/// The code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companded {
    /// Whether elements may be negative.
    pub signed: bool,
}

impl Companded {
    /// The code of an element of a block whose largest magnitude is `scale`.
    pub fn encode(self, x: f32, scale: f32) -> u8 {
        if scale < MIN_SCALE || !x.is_finite() {
            return 0;
        }
        let y = x.abs() / scale;
        if self.signed {
            // A product that is divided, not added to: nothing that a compiler may fuse.
            let last = LAST_SIGNED as f32;
            let index = (2.0 * last * y / (1.0 + y) + 0.5).floor().min(last) as i8;
            return (if x < 0.0 { -index } else { index }) as u8;
        }
        if x < 0.0 {
            return 0;
        }
        let last = LAST_UNSIGNED as f32;
        let index = ((last * last * y).sqrt() + 0.5).floor().min(last) as u8;
        // What is above 0 stays so: beside a first moment that is not 0, it divides.
        index.max(u8::from(y > 0.0))
    }

    /// The element of this code.
    pub fn decode(self, code: u8, scale: f32) -> f32 {
        if self.signed {
            let code = i32::from(code as i8);
            let y = signed_magnitude(code.unsigned_abs()) * scale;
            return if code < 0 { -y } else { y };
        }
        unsigned_magnitude(code.into()) * scale
    }
}

/// y where 127·2y/(1 + y) is this index.
fn signed_magnitude(index: u32) -> f32 {
    // The largest stays what it was, however a device divides.
    if index >= LAST_SIGNED {
        return 1.0;
    }
    index as f32 / (2 * LAST_SIGNED - index) as f32
}

/// y where 255·√y is this index.
fn unsigned_magnitude(index: u32) -> f32 {
    if index >= LAST_UNSIGNED {
        return 1.0;
    }
    (index * index) as f32 / (LAST_UNSIGNED * LAST_UNSIGNED) as f32
}
