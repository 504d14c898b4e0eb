//! Formats as codecs over words: how many bytes elements take, and what they are on the host. Each
//! codec has a twin in `shaders/formats`.

pub mod block8;
pub mod companded8;
pub mod half;
pub mod noise;

use crate::layout::geometry::{BLOCK, ELEMENT_BYTES};
use crate::model::{Code, Codec, Formats, Keeping, Map};
use block8::Dynamic;
use companded8::Companded;

/// Bytes of a block in 8 bits: its scale, then a byte an element.
const BLOCK8_BYTES: u64 = ELEMENT_BYTES + BLOCK;

/// Bytes of a word, in which storage is bound, copied and sized.
pub const WORD_BYTES: u64 = 4;

impl Codec {
    /// Bytes that so many elements take, and the offset of the element of this index. Elements of 8
    /// bits come in whole blocks.
    pub fn bytes(self, elements: u64) -> u64 {
        match self {
            Self::F32 => elements * ELEMENT_BYTES,
            Self::F16 | Self::Bf16 | Self::I16 => elements * HALF_BYTES,
            Self::Block8(_) => elements.div_ceil(BLOCK) * BLOCK8_BYTES,
        }
    }

    /// What offsets in bytes are a multiple of.
    pub fn alignment(self) -> u64 {
        if self.is_half() { HALF_BYTES } else { WORD_BYTES }
    }

    /// A multiple of elements at which a binding may start, where bindings start at multiples of
    /// so many bytes, a power of two.
    pub fn elements_aligned(self, alignment: u64) -> u64 {
        match self {
            // 260 bytes are four times an odd number.
            Self::Block8(_) => BLOCK * (alignment / WORD_BYTES).max(1),
            codec => alignment.div_ceil(codec.bytes(1)),
        }
    }

    /// Appends elements as they are stored, from the start of a block on if they are of 8 bits.
    pub fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend_from_slice(bytemuck::cast_slice(values)),
            Self::F16 => encode_halves(values, out, half::to_f16),
            Self::Bf16 => encode_halves(values, out, half::to_bf16),
            Self::I16 => encode_halves(values, out, |x| x as i16 as u16),
            Self::Block8(Code { map, signed }) => match map {
                Map::Dynamic => {
                    encode_blocks(values, out, |x, scale| Dynamic { signed }.encode(x, scale));
                }
                Map::Companded => {
                    encode_blocks(values, out, |x, scale| Companded { signed }.encode(x, scale));
                }
            },
        }
    }

    /// Appends so many elements that are stored in these bytes.
    pub fn decode(self, bytes: &[u8], count: usize, out: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                let words = bytes.chunks_exact(WORD_BYTES as usize).take(count);
                out.extend(
                    words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])),
                );
            }
            Self::F16 => decode_halves(bytes, count, out, half::from_f16),
            Self::Bf16 => decode_halves(bytes, count, out, half::from_bf16),
            Self::I16 => decode_halves(bytes, count, out, |x| f32::from(x as i16)),
            Self::Block8(Code { map, signed }) => match map {
                Map::Dynamic => decode_blocks(bytes, count, out, |code, scale| {
                    Dynamic { signed }.decode(code, scale)
                }),
                Map::Companded => decode_blocks(bytes, count, out, |code, scale| {
                    Companded { signed }.decode(code, scale)
                }),
            },
        }
    }
}

impl Code {
    /// The element of this code, of a block of this scale.
    pub fn decode(self, code: u8, scale: f32) -> f32 {
        let Self { map, signed } = self;
        match map {
            Map::Dynamic => Dynamic { signed }.decode(code, scale),
            Map::Companded => Companded { signed }.decode(code, scale),
        }
    }
}

const HALF_BYTES: u64 = 2;

/// Appends elements of 16 bits. Generic, so that the loop is compiled with the function in it.
fn encode_halves(values: &[f32], out: &mut Vec<u8>, of: impl Fn(f32) -> u16) {
    let start = out.len();
    out.resize(start + HALF_BYTES as usize * values.len(), 0);
    let pairs = out[start..].chunks_exact_mut(HALF_BYTES as usize);
    pairs.zip(values).for_each(|(pair, &x)| pair.copy_from_slice(&of(x).to_le_bytes()));
}

/// Appends so many elements that are stored in 16 bits.
fn decode_halves(bytes: &[u8], count: usize, out: &mut Vec<f32>, of: impl Fn(u16) -> f32) {
    let pairs = bytes.chunks_exact(HALF_BYTES as usize).take(count);
    out.extend(pairs.map(|pair| of(u16::from_le_bytes([pair[0], pair[1]]))));
}

/// Appends so many elements of blocks; `of` gives that of a code, by its block's scale.
fn decode_blocks(bytes: &[u8], count: usize, out: &mut Vec<f32>, of: impl Fn(u8, f32) -> f32) {
    let end = out.len() + count;
    for block in bytes.chunks(BLOCK8_BYTES as usize) {
        let (scale, codes) = block.split_at(WORD_BYTES as usize);
        let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        let codes = &codes[..codes.len().min(end - out.len())];
        if scale == 0.0 {
            // Before the first step all bytes are 0, and some code of 0 has a sign.
            out.resize(out.len() + codes.len(), 0.0);
        } else {
            out.extend(codes.iter().map(|&code| of(code, scale)));
        }
    }
}

/// Appends blocks of codes; `of` gives that of an element, by its block's scale. Generic, so that
/// the loop is compiled with the function in it.
fn encode_blocks(values: &[f32], out: &mut Vec<u8>, of: impl Fn(f32, f32) -> u8) {
    values.chunks(BLOCK as usize).for_each(|block| encode_block(block, out, &of));
}

/// Appends a block's scale, and its codes, padded by 0 to a whole block.
fn encode_block(block: &[f32], out: &mut Vec<u8>, of: impl Fn(f32, f32) -> u8) {
    let finite = block.iter().map(|x| x.abs()).filter(|x| x.is_finite());
    let largest = finite.fold(0.0, f32::max);
    let scale = if largest < block8::MIN_SCALE { 0.0 } else { largest };
    let end = out.len() + BLOCK8_BYTES as usize;
    out.extend(scale.to_le_bytes());
    out.extend(block.iter().map(|&x| of(x, scale)));
    out.resize(end, 0);
}

impl Formats {
    /// The codecs of the arrays that a dispatch binds windows of: the parameter's, the gradient's,
    /// and all states', which share a window.
    pub fn of_windows(&self) -> [&[Codec]; 3] {
        [
            std::slice::from_ref(&self.param),
            std::slice::from_ref(&self.grad),
            self.states.as_slice(),
        ]
    }

    /// What a 16-bit parameter and what is kept beside it are for an f32: the parameter's value as
    /// it is stored, and the kept number.
    pub fn split(&self, x: f32, random: u32) -> (f32, f32) {
        match self.keeping {
            Keeping::Nothing => (self.param.rounded(x), 0.0),
            Keeping::Chance => (half::from_bf16(half::to_bf16_by_chance(x, random)), 0.0),
            Keeping::Master => (self.param.rounded(x), x),
            Keeping::Remainder => {
                let (high, low) = half::split(x);
                (half::from_bf16(high), f32::from(low))
            }
            Keeping::Loss => {
                let rounded = self.param.rounded(x);
                // Beyond the format's largest nothing is left to keep.
                (rounded, if rounded.is_finite() { x - rounded } else { 0.0 })
            }
        }
    }

    /// The f32 that a parameter stands for, with what is kept beside it.
    pub fn join(&self, param: f32, kept: f32) -> f32 {
        match self.keeping {
            Keeping::Nothing | Keeping::Chance => param,
            // Someone else has written the parameter, or no step was taken yet.
            Keeping::Master if self.param.rounded(kept).to_bits() != param.to_bits() => param,
            Keeping::Master => kept,
            Keeping::Remainder => half::join((param.to_bits() >> 16) as u16, kept as i16),
            Keeping::Loss => param + kept,
        }
    }
}

impl Codec {
    /// A number as this codec stores it, by itself.
    pub fn rounded(self, x: f32) -> f32 {
        match self {
            Self::F16 => half::from_f16(half::to_f16(x)),
            Self::Bf16 => half::from_bf16(half::to_bf16(x)),
            Self::F32 | Self::I16 | Self::Block8(_) => x,
        }
    }
}
