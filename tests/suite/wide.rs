//! Double precision in u32 arithmetic, `shaders/passes/wide.wgsl`, against the host's f64, bit for
//! bit. Only NaN stands for all NaNs.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use crate::shaders::check_translations;
use wgpu_optim::internals::{Shader, power};
use wgpu_optim::wgpu;

const WGSL: &str = include_str!("../../shaders/passes/wide.wgsl");

/// A function of `wide.wgsl`: its name, a WGSL expression that applies it to `a` and `b`, and the
/// host's.
struct Operation {
    name: &'static str,
    wgsl: &'static str,
    host: fn(u64, u64) -> u64,
}

const fn operation(name: &'static str, wgsl: &'static str, host: fn(u64, u64) -> u64) -> Operation {
    Operation { name, wgsl, host }
}

const ADD: Operation = operation("add", "wide_add(a, b)", |a, b| of(to(a) + to(b)));
const SUB: Operation = operation("sub", "wide_sub(a, b)", |a, b| of(to(a) - to(b)));
const MUL: Operation = operation("mul", "wide_mul(a, b)", |a, b| of(to(a) * to(b)));
const DIV: Operation = operation("div", "wide_div(a, b)", |a, b| of(to(a) / to(b)));
const SQRT: Operation = operation("sqrt", "wide_sqrt(a)", |a, _| of(to(a).sqrt()));
const GREATER: Operation =
    operation("greater", "Wide(u32(wide_greater(a, b)), 0u)", |a, b| (to(a) > to(b)).into());
const POWER: Operation =
    operation("power", "wide_power(a, b.x)", |a, b| of(power(to(a), b as u32)));
const FROM_U32: Operation =
    operation("from_u32", "wide_from_u32(a.x)", |a, _| of(f64::from(a as u32)));
const FROM_F32: Operation =
    operation("from_f32", "wide_from_f32(a.x)", |a, _| of(f32::from_bits(a as u32).into()));
const TO_F32: Operation = operation("to_f32", "Wide(wide_to_f32(a), 0u)", |a, _| {
    let x = to(a) as f32;
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits().into() }
});

fn to(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn of(x: f64) -> u64 {
    if x.is_nan() { 0x7ff8_0000_0000_0000 } else { x.to_bits() }
}

/// A kernel that applies an operation to each pair of operands.
fn shader(library: &str, operation: &Operation) -> Shader {
    let text = format!(
        "{library}
@group(0) @binding(0) var<storage, read> pairs: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> results: array<Wide>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    if id.x < arrayLength(&pairs) {{
        let a = pairs[id.x].xy;
        let b = pairs[id.x].zw;
        results[id.x] = {};
    }}
}}
",
        operation.wgsl
    );
    let (overrides, bindings) = Default::default();
    let label = operation.name.into();
    Shader { label, text, overrides, bindings, rule_line: 0, zeroed_memory: false }
}

fn run(shader: &Shader, pairs: &[(u64, u64)]) -> Vec<u64> {
    let gpu = Gpu::default();
    // A buffer takes f32s; these are only bits.
    let words = |x: u64| [x as u32, (x >> 32) as u32].map(f32::from_bits);
    let operands: Vec<f32> =
        pairs.iter().flat_map(|&(a, b)| [words(a), words(b)]).flatten().collect();
    let operands = gpu.buffer(&operands);
    let results = gpu.buffer(&vec![0.0; 2 * pairs.len()]);
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("wide"),
        source: wgpu::ShaderSource::Wgsl(shader.text.as_str().into()),
    });
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("wide"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("wide"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: operands.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: results.as_entire_binding() },
        ],
    });
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(pairs.len().div_ceil(64) as u32, 1, 1);
    drop(pass);
    gpu.submit(encoder);
    bytemuck::pod_collect_to_vec(&gpu.read(&results))
}

/// The operands for which the GPU's result is not the host's, with both results.
fn mismatches(library: &str, operation: &Operation, pairs: &[(u64, u64)]) -> Vec<String> {
    let found = run(&shader(library, operation), pairs);
    assert_eq!(found.len(), pairs.len());
    let rows = pairs.iter().zip(found);
    rows.filter_map(|(&(a, b), found)| {
        let expected = (operation.host)(a, b);
        (found != expected).then(|| {
            let name = operation.name;
            format!("{name} of {a:#018x}, {b:#018x}: {found:#018x}, not {expected:#018x}")
        })
    })
    .collect()
}

fn check(operation: &Operation, pairs: &[(u64, u64)]) {
    let wrong = mismatches(WGSL, operation, pairs);
    assert!(wrong.is_empty(), "{} of {} wrong: {}", wrong.len(), pairs.len(), wrong[0]);
}

/// Zeros, infinities, NaNs, the smallest and largest subnormal and normal numbers, powers of two,
/// and their neighbours, of either sign.
fn special() -> Vec<u64> {
    let mut values: Vec<u64> = vec![
        0,
        1,
        2,
        0x000f_ffff_ffff_fffe,
        0x000f_ffff_ffff_ffff,
        f64::MIN_POSITIVE.to_bits(),
        f64::MIN_POSITIVE.to_bits() + 1,
        f64::MAX.to_bits() - 1,
        f64::MAX.to_bits(),
        f64::INFINITY.to_bits(),
        f64::INFINITY.to_bits() + 1,
        f64::NAN.to_bits(),
        u64::MAX >> 1,
    ];
    for exponent in
        [-1022, -537, -150, -149, -127, -126, -54, -53, -1, 0, 1, 2, 52, 53, 127, 128, 512]
    {
        let power = 2f64.powi(exponent).to_bits();
        values.extend([power - 1, power, power + 1, power | 1 << 51]);
    }
    values.extend([0.1f64, 0.9, 0.99, 0.999, 0.9999, 1e-3, 1e-8, 3.0, 10.0, 1e7].map(f64::to_bits));
    let negative: Vec<u64> = values.iter().map(|x| x | 1 << 63).collect();
    values.extend(negative);
    values
}

/// A fraction: random, all ones, or a form between that makes ties and long carries.
fn fraction(random: &mut Random) -> u64 {
    let bits = random.next() & ((1 << 52) - 1);
    let shift = random.next() % 53;
    match random.next() % 8 {
        0 => 0,
        1 => (1 << 52) - 1,
        2 => (1 << shift) >> 1,
        3 => ((1 << 52) - 1) ^ ((1 << shift) >> 1),
        4 => (1 << shift) - 1,
        5 => ((1 << 52) - 1) & !((1 << shift) - 1),
        6 => bits & !((1 << shift) - 1),
        _ => bits,
    }
}

/// With its exponent's field, of either sign.
fn number(random: &mut Random, field: u64) -> u64 {
    (random.next() & 1 << 63) | field.min(0x7ff) << 52 | fraction(random)
}

/// a·b or a/b or √ are a little above, a little below, or just between two f64s.
fn near_ties(random: &mut Random) -> [(u64, u64); 4] {
    let odd = |random: &mut Random, bits: u32| (random.next() >> (64 - bits)) | 1 | 1 << (bits - 1);
    // Odd and of 54 bits, most times: a tie of the product.
    let product = (odd(random, 27) as f64, odd(random, 27) as f64);
    // A number halfway between f64s times the divisor, and back to 53 bits.
    let (half, divisor) = (odd(random, 54), odd(random, 53));
    let nudge = |x: f64, random: &mut Random| of(x) + random.next() % 3 - 1;
    let dividend = nudge((u128::from(half) * u128::from(divisor)) as f64, random);
    let square = nudge((u128::from(half) * u128::from(half)) as f64, random);
    // Half the last bit, or three halves, or a little beside: a tie of the sum.
    let field = 60 + random.next() % 1900;
    let x = number(random, field);
    let half = (random.next() & 1 << 63) | (field - 53 + random.next() % 2) << 52;
    let beside = half + [0, 0, 1, 1 << 51][random.next() as usize % 4] - random.next() % 2;
    [(of(product.0), of(product.1)), (dividend, of(divisor as f64)), (square, of(1.0)), (x, beside)]
}

/// Operands whose product or quotient is about the smallest or the largest f64.
fn near_limits(random: &mut Random) -> [(u64, u64); 2] {
    let target = if random.next().is_multiple_of(2) { -60 } else { 2045 };
    let target = target + (random.next() % 64) as i64;
    let low = (target - 1020).max(1);
    let first = low + (random.next() % 1000) as i64;
    let second = (target - (first - 1023)).clamp(0, 2046) as u64;
    let divisor = (first - target + 1023).clamp(0, 2046) as u64;
    let first = first.clamp(0, 2046) as u64;
    [
        (number(random, first), number(random, second)),
        (number(random, first), number(random, divisor)),
    ]
}

/// What a step computes with: decay rates, learning rates, step counts, bias corrections.
fn usual(random: &mut Random) -> u64 {
    const DECAY: [f64; 7] = [0.5, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999];
    let beta = match random.next() % 8 {
        7 => random.unit(),
        index => DECAY[index as usize],
    };
    let step = (1e7f64.powf(random.unit())).floor();
    of(match random.next() % 8 {
        0 => beta,
        1 => 1.0 - beta,
        2 => step,
        3 => 1.0 - beta.powf(step),
        4 => beta.powf(step),
        5 => (1.0 - beta.powf(step)).sqrt(),
        6 => 10f64.powf(-10.0 * random.unit()),
        _ => f64::from(random.unit() as f32),
    })
}

/// Pairs of operands of all kinds, the same ones each time.
fn pairs() -> Vec<(u64, u64)> {
    let special = special();
    let mut pairs: Vec<_> =
        special.iter().flat_map(|&a| special.iter().map(move |&b| (a, b))).collect();
    let random = &mut Random::new(64);
    for _ in 0..50_000 {
        pairs.push((random.next(), random.next()));
        let field = random.next() % 2047;
        pairs.push((number(random, field), random.next()));
        // Exponents near each other, and numbers near each other: sums cancel.
        let a = number(random, field);
        let near = (field + random.next() % 120).saturating_sub(60).min(2046);
        pairs.push((a, number(random, near)));
        let close = (field + random.next() % 3).saturating_sub(1).min(2046);
        pairs.push((a, number(random, close)));
        let bits = random.next() % 53;
        let beside = (a ^ (random.next() & 1 << 63)).wrapping_add(random.next() >> (63 - bits));
        pairs.push((a, beside));
        pairs.extend(near_ties(random));
        pairs.extend(near_limits(random));
        pairs.push((usual(random), usual(random)));
    }
    pairs
}

/// What to round to an f32: all kinds of numbers, and those at, near and between f32s.
fn for_f32() -> Vec<(u64, u64)> {
    let mut numbers: Vec<u64> = pairs().into_iter().map(|(a, _)| a).collect();
    let random = &mut Random::new(32);
    for _ in 0..300_000 {
        // Down to half of the smallest subnormal f32 and below, and up to beyond the largest.
        let field = 1023 - 153 + random.next() % (153 + 130);
        let tail = [0, 1, (1 << 28) - 1, 1 << 28, (1 << 28) + 1][random.next() as usize % 5];
        let x = number(random, field);
        // Where f32s are subnormal, their ties have higher bits.
        let shift = 29 + 897u64.saturating_sub(field).min(23);
        numbers.extend([x >> 29 << 29 | tail, x >> shift << shift | 1 << (shift - 1)]);
    }
    numbers.extend([f32::MAX.to_bits(), f32::MIN_POSITIVE.to_bits(), 1].iter().flat_map(|&bits| {
        let (x, next) = (f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits - 1)));
        let above = of(x + (x - next) / 2.0);
        let below = of(x - (x - next) / 2.0);
        [above - 1, above, above + 1, below - 1, below, below + 1]
    }));
    numbers.into_iter().map(|x| (x, 0)).collect()
}

/// Bits of f32s, in the low word.
fn f32s() -> Vec<(u64, u64)> {
    let random = &mut Random::new(16);
    let specials =
        (0..=0xff).flat_map(|field| [0, 1, 2, 4, 0x40_0000, 0x7f_ffff].map(|x| field << 23 | x));
    let all = specials.flat_map(|x| [x, x | 1 << 31]);
    let subnormals: Vec<u64> = (0..10_000).map(|_| random.next() & 0x807f_ffff).collect();
    let any: Vec<u64> = (0..100_000).map(|_| random.next() & 0xffff_ffff).collect();
    all.chain(subnormals).chain(any).map(|x| (x, 0)).collect()
}

#[test]
fn sums_are_the_hosts() {
    check(&ADD, &pairs());
    check(&SUB, &pairs());
}

#[test]
fn products_are_the_hosts() {
    check(&MUL, &pairs());
}

#[test]
fn quotients_are_the_hosts() {
    check(&DIV, &pairs());
}

#[test]
fn roots_are_the_hosts() {
    let mut numbers = pairs();
    // Half of them would be negative.
    numbers.iter_mut().skip(special().len()).for_each(|(a, b)| {
        (*a, *b) = (if *a >> 63 == 1 { *b & !(1 << 63) } else { *a }, 0);
    });
    check(&SQRT, &numbers);
}

#[test]
fn comparisons_are_the_hosts() {
    let mut pairs = pairs();
    pairs.extend(special().into_iter().map(|a| (a, a)));
    check(&GREATER, &pairs);
}

#[test]
fn powers_are_the_hosts() {
    let random = &mut Random::new(8);
    let mut pairs: Vec<_> =
        special().into_iter().flat_map(|a| (0..40).map(move |exponent| (a, exponent))).collect();
    for _ in 0..50_000 {
        let exponent = random.next() >> 32 >> (random.next() % 32);
        let near_1 = 1.0 + (random.unit() - 0.7) * 10f64.powf(-8.0 * random.unit());
        pairs.extend([(usual(random), exponent), (of(near_1), exponent)]);
        let step = 1e7f64.powf(random.unit()) as u64;
        pairs.push((of(1.0 - 10f64.powf(-6.0 * random.unit())), step));
    }
    check(&POWER, &pairs);
}

#[test]
fn conversions_are_the_hosts() {
    check(&TO_F32, &for_f32());
    check(&FROM_F32, &f32s());
    let random = &mut Random::new(4);
    let mut integers: Vec<(u64, u64)> = (0..=32)
        .flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])
        .map(|x: u64| (x & 0xffff_ffff, 0))
        .collect();
    integers.extend((0..100_000).map(|_| (random.next() >> 32 >> (random.next() % 32), 0)));
    check(&FROM_U32, &integers);
}

/// The operands tell right from wrong: a library with one mistake fails.
#[test]
fn mistakes_are_found() {
    let cases: [(&str, &str, &[&Operation]); 7] = [
        // Ties away from zero; no rounding.
        ("rest == 0x400u &&", "rest == 0x400u ||", &[&ADD, &MUL, &DIV, &SQRT]),
        ("rest == 0x80u &&", "rest == 0x80u ||", &[&TO_F32]),
        ("Wide(u32(up), 0u)", "Wide()", &[&ADD, &MUL, &DIV, &SQRT]),
        // What is below is forgotten.
        ("low | u32((a.x & below) != 0u)", "low", &[&ADD]),
        ("top.x | below", "top.x", &[&MUL]),
        ("parts.significand.x | below", "parts.significand.x", &[&DIV]),
        ("parts.significand | Wide(below, 0u)", "parts.significand", &[&SQRT]),
    ];
    let pairs = pairs();
    let for_f32 = for_f32();
    for (right, wrong, operations) in cases {
        assert_eq!(WGSL.matches(right).count(), 1, "{right}");
        for operation in operations {
            let operands = if operation.name == "to_f32" { &for_f32 } else { &pairs };
            let found = mismatches(&WGSL.replace(right, wrong), operation, operands);
            assert!(!found.is_empty(), "{} does not notice {wrong}", operation.name);
        }
    }
}

#[test]
fn translates() {
    for operation in
        [&ADD, &SUB, &MUL, &DIV, &SQRT, &GREATER, &POWER, &FROM_U32, &FROM_F32, &TO_F32]
    {
        check_translations(operation.name, &shader(WGSL, operation));
    }
}
