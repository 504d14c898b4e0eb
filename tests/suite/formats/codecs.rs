//! Codecs, bit for bit: the libraries' data, and the GPU against the CPU.

use super::model::{Model, Placement};
use crate::common::gpu::Gpu;
use crate::common::random::Random;
use crate::golden::numbers;
use safetensors::SafeTensors;
use wgpu_optim::internals::formats::block8::Dynamic;
use wgpu_optim::internals::formats::half;
use wgpu_optim::internals::{Code, Codec, Formats, Map};
use wgpu_optim::{Adagrad, DynRule, Format, Rounding, SGD, Storage};

/// A file of golden data.
pub fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats");
    std::fs::read(format!("{folder}/{name}.safetensors")).expect("readable")
}

/// Whether halves are the same number, with any payload of a NaN.
fn same(codec: Codec, a: u16, b: u16) -> bool {
    let decode = if codec == Codec::F16 { half::from_f16 } else { half::from_bf16 };
    a == b || (decode(a).is_nan() && decode(b).is_nan())
}

#[test]
fn halves_have_the_bits_of_pytorch() {
    type Encode = fn(f32) -> u16;
    type Decode = fn(u16) -> f32;
    let codecs: [(&str, Codec, Encode, Decode); 2] = [
        ("f16", Codec::F16, half::to_f16, half::from_f16),
        ("bf16", Codec::Bf16, half::to_bf16, half::from_bf16),
    ];
    for (name, codec, encode, decode) in codecs {
        let bytes = file(&format!("codec_{name}"));
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let (inputs, back): (Vec<f32>, Vec<f32>) = (numbers(&file, "x"), numbers(&file, "back"));
        let halves: Vec<u16> = numbers(&file, name);
        for ((&x, &expected), &back) in inputs.iter().zip(&halves).zip(&back) {
            let found = encode(x);
            assert!(same(codec, found, expected), "{name} of {x:e}: {found:x}, {expected:x}");
            let decoded = decode(expected);
            let is_same = decoded.to_bits() == back.to_bits();
            assert!(is_same || (decoded.is_nan() && back.is_nan()), "{expected:x}: {decoded:e}");
        }
    }
}

#[test]
fn remainders_have_the_bits_of_apex_and_lose_nothing() {
    let bytes = file("codec_remainder");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (halves, rest): (Vec<u16>, Vec<i16>) =
        (numbers(&file, "bf16"), numbers(&file, "remainder"));
    for (i, &x) in numbers::<f32>(&file, "x").iter().enumerate() {
        let (high, low) = half::split(x);
        if x.is_nan() {
            assert!(half::from_bf16(high).is_nan() && half::join(high, low).is_nan());
            continue;
        }
        assert_eq!((high, low), (halves[i], rest[i]), "{x:e}");
        assert_eq!(half::join(high, low).to_bits(), x.to_bits());
    }
    // Every bit pattern of a few upper halves, and every upper half.
    for bits in (0..=u32::MAX).step_by(65_521) {
        let x = f32::from_bits(bits);
        let (high, low) = half::split(x);
        assert!(x.is_nan() || half::join(high, low).to_bits() == bits, "{bits:x}");
    }
}

#[test]
fn chances_are_those_of_torchao() {
    let bytes = file("codec_stochastic");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (halves, random): (Vec<u16>, Vec<u16>) =
        (numbers(&file, "bf16"), numbers(&file, "random16"));
    for (i, &x) in numbers::<f32>(&file, "x").iter().enumerate() {
        // Theirs rounds away from zero where the random number is below the lower half.
        let found = half::to_bf16_by_chance(x, u32::from(0xffff ^ random[i]));
        assert!(same(Codec::Bf16, found, halves[i]), "{x:e} {}", random[i]);
    }
}

/// Our codes are bitsandbytes' but where two are as near, where a small negative number is 0, where
/// a block is 0, and where a positive one must not become 0.
#[test]
fn eight_bit_codes_are_those_of_bitsandbytes() {
    let bytes = file("codec_dynamic8");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let inputs: Vec<f32> = numbers(&file, "x");
    for (kind, signed) in [("signed", true), ("unsigned", false)] {
        let code = Dynamic { signed };
        let map: Vec<f32> = numbers(&file, &format!("map_{kind}"));
        for (index, &value) in map.iter().enumerate() {
            let found = code.decode(index as u8, 1.0);
            let ulps = (i64::from(found.to_bits()) - i64::from(value.to_bits())).abs();
            assert!(ulps <= 3 || found == value, "{kind} {index}: {found:e}, {value:e}");
        }
        let theirs: Vec<u8> = numbers(&file, &format!("{kind}.bnb_cuda.codes"));
        let mut equal = 0;
        for (block, codes) in inputs.chunks(256).zip(theirs.chunks(256)) {
            let values: Vec<f32> =
                block.iter().map(|&x| if signed { x } else { x.abs() }).collect();
            let scale = values.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            for (&x, &expected) in values.iter().zip(codes) {
                let found = code.encode(x, scale);
                let error = |code: u8| {
                    (f64::from(map[usize::from(code)]) * f64::from(scale) - f64::from(x)).abs()
                };
                let tie = (error(found) - error(expected)).abs() <= 1e-6 * f64::from(x.abs());
                let tiny = signed && x < 0.0 && found == 127 && expected == 126;
                let kept = !signed && x > 0.0 && found == 1 && expected == 0;
                let is_zero = scale < f32::MIN_POSITIVE && found == code.zero();
                let is_same = found == expected;
                equal += usize::from(is_same);
                assert!(
                    is_same || tie || tiny || kept || is_zero,
                    "{kind} {x:e}/{scale:e}: {found} {expected}"
                );
            }
        }
        assert!(equal * 10 >= 7 * inputs.len(), "{kind}: {equal} of {}", inputs.len());
    }
}

/// Inputs for encoders: golden ones, and random bits.
fn inputs() -> Vec<f32> {
    let bytes = file("codec_bf16");
    let golden: Vec<f32> = numbers(&SafeTensors::deserialize(&bytes).expect("safetensors"), "x");
    let mut random = Random::new(5);
    let bits = (0..20_000).map(|_| f32::from_bits(random.next() as u32));
    // Devices may flush subnormal numbers.
    let usual = |x: &f32| *x == 0.0 || !x.is_finite() || x.abs() >= f32::MIN_POSITIVE;
    golden.into_iter().chain(bits).filter(usual).collect()
}

/// One step of SGD from 0 with lr 1: the parameter is −g.
fn negated(storage: &Storage, grads: &[f32]) -> Vec<f32> {
    let rule = SGD { lr: 1.0, ..Default::default() };
    let gpu = Gpu::default();
    let lens = [grads.len()];
    let mut model = Model::new(gpu, &rule, storage, &lens, Placement::Arena, |builder| builder);
    model.set(1, &[grads.to_vec()]);
    model.step();
    model.param(0)
}

#[test]
fn the_gpu_encodes_as_the_cpu() {
    let inputs = inputs();
    for format in [Format::F16, Format::Bf16] {
        let storage = if format == Format::F16 { Storage::f16 } else { Storage::bf16 };
        let storage = storage(Rounding::Nearest).grads(Format::F32);
        for (&x, &found) in inputs.iter().zip(&negated(&storage, &inputs)) {
            let expected = Codec::from(format).rounded(-x);
            let is_same =
                found.to_bits() == expected.to_bits() || (found == 0.0 && expected == 0.0);
            assert!(is_same || (x.is_nan() && found.is_nan()), "{format:?} {x:e}: {found:e}");
        }
    }
}

#[test]
fn the_gpu_decodes_every_half_as_the_cpu() {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    for (format, decode) in
        [(Format::F16, half::from_f16 as fn(u16) -> f32), (Format::Bf16, half::from_bf16)]
    {
        let values: Vec<f32> = halves.iter().map(|&half| decode(half)).collect();
        let found = negated(&Storage::f32().grads(format), &values);
        for (&x, &found) in values.iter().zip(&found) {
            let flushed = x.is_subnormal() && found == 0.0;
            let is_same = found == -x || (x.is_nan() && found.is_nan());
            assert!(is_same || flushed, "{format:?} {x:e}: {found:e}");
        }
    }
}

/// The first step's momentum is the gradient, and Adagrad's sum its square: what is stored of them
/// is what the CPU stores.
#[test]
fn the_gpu_stores_8_bits_as_the_cpu() {
    let mut random = Random::new(11);
    let mut grads: Vec<f32> = random.wide_vec(5 * 256 + 77, 1e-9, 10.0);
    grads[256..512].fill(0.0);
    grads[600] = 1e-42;
    let momentum = || SGD { momentum: 0.9, ..Default::default() }.into();
    let sum = || Adagrad::default().into();
    let cases: [(Box<dyn DynRule>, &str, Format, Map); 4] = [
        (momentum(), "momentum_buffer", Format::Block8, Map::Dynamic),
        (momentum(), "momentum_buffer", Format::Companded8, Map::Companded),
        (sum(), "sum", Format::Block8, Map::Dynamic),
        (sum(), "sum", Format::Companded8, Map::Companded),
    ];
    for (rule, state, format, map) in cases {
        let signed = state == "momentum_buffer";
        let storage = Storage::f32().states(format).min_block8(0);
        let lens = [grads.len()];
        let gpu = Gpu::default();
        let mut model = Model::new(gpu, rule.as_ref(), &storage, &lens, Placement::Arena, |b| b);
        model.set(1, &[grads.clone()]);
        model.step();
        let values: Vec<f32> = grads.iter().map(|&g| if signed { g } else { g * g }).collect();
        let mut expected = Vec::new();
        Codec::Block8(Code { map, signed }).encode(&values, &mut expected);
        let found = model.state(0, state);
        assert_eq!(found.len(), expected.len());
        let differs = |&i: &usize| found[i] != expected[i];
        let different: Vec<_> = (0..found.len()).filter(differs).collect();
        // A quotient may be rounded otherwise beside a midpoint.
        let shown: Vec<_> = different.iter().map(|&i| (i, found[i], expected[i])).take(9).collect();
        assert!(different.len() <= 2, "{state}: {} bytes differ: {shown:?}", different.len());
    }
}

/// All numbers of a code of 8 bits, where the largest of their block is this.
fn numbers_of(code: Code, scale: f32) -> Vec<f32> {
    (0..=u8::MAX).map(|byte| code.decode(byte, scale)).collect()
}

/// What was stored and read is stored as it was, so that a state that does not change keeps its
/// bits.
#[test]
fn what_was_stored_in_8_bits_is_stored_again_as_it_was() {
    for map in [Map::Dynamic, Map::Companded] {
        for signed in [true, false] {
            let code = Code { map, signed };
            for scale in [1e-30, 0.37, 1.0, 6e4, 3e38] {
                let mut values = numbers_of(code, scale);
                values[0] = scale;
                let (mut first, mut again) = (Vec::new(), Vec::new());
                Codec::Block8(code).encode(&values, &mut first);
                let mut read = Vec::new();
                Codec::Block8(code).decode(&first, values.len(), &mut read);
                Codec::Block8(code).encode(&read, &mut again);
                assert!(first == again, "{code:?} {scale:e}");
            }
        }
    }
}

/// FlashOptim's two functions, in f64, and the errors that `Format::Companded8` tells.
#[test]
fn companding_is_flashoptims() {
    let mut random = Random::new(3);
    for signed in [true, false] {
        let code = Code { map: Map::Companded, signed };
        let mut values = random.wide_vec(256 * 40, 1e-6, 1.0);
        for x in &mut values {
            *x = if signed { x.clamp(-1.0, 1.0) } else { x.abs().min(1.0) };
        }
        values.chunks_mut(256).for_each(|block| block[7] = 1.0);
        let mut bytes = Vec::new();
        Codec::Block8(code).encode(&values, &mut bytes);
        for (block, stored) in values.chunks(256).zip(bytes.chunks(260)) {
            for (&x, &byte) in block.iter().zip(&stored[4..]) {
                let y = f64::from(x.abs());
                let exact = if signed { 127.0 * 2.0 * y / (1.0 + y) } else { 255.0 * y.sqrt() };
                let index = if signed { (byte as i8).unsigned_abs() } else { byte };
                let kept = !signed && index == 1 && exact > 0.0;
                assert!((f64::from(index) - exact).abs() <= 0.5 + 1e-4 || kept, "{x:e}: {index}");
                assert!(!signed || index == 0 || (x < 0.0) == ((byte as i8) < 0), "{x:e}: {byte}");
                let error = (code.decode(byte, 1.0) - x).abs();
                let most = match (signed, y) {
                    (true, 0.1..) => 0.024,
                    (true, 0.01..) => 0.2,
                    (false, 0.1..) => 0.013,
                    (false, 0.01..) => 0.04,
                    (false, 1e-3..) => 0.13,
                    _ => continue,
                };
                assert!(error <= most * x.abs(), "{x:e} became {:e}", code.decode(byte, 1.0));
            }
        }
    }
}

/// What is kept beside a parameter makes it whole again.
#[test]
fn what_is_split_is_joined() {
    for storage in [
        Storage::bf16(Rounding::Remainder),
        Storage::bf16(Rounding::Master),
        Storage::f16(Rounding::Master),
    ] {
        let formats = Formats::of(&storage, &SGD::default());
        for x in inputs().into_iter().filter(|x| !x.is_nan()) {
            let (param, kept) = formats.split(x, 0);
            assert_eq!(formats.join(param, kept).to_bits(), x.to_bits(), "{storage:?} {x:e}");
        }
    }
}
