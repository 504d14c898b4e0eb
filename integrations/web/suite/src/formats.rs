//! Parameters and gradients in 16 bits, states in 16 and 8.

use crate::arrays::name;
use crate::common::bounds::{self, Stored};
use crate::common::random::Random;
use crate::control::stored;
use crate::gpu::Gpu;
use wgpu_optim::internals::{Codec, Formats};
use wgpu_optim::{
    Adam, CpuOptimizer, DynRule, Format, LAMB, Optimizer, Param, Rounding, SGD, Storage,
};

/// Lengths around a word and a block; odd ones, so that neighbours share words.
const LENS: [usize; 5] = [1, 3, 4, 257, 1021];

const STEPS: usize = 3;

/// Storage that between them has every format and every way to keep a parameter.
fn storages() -> [Storage; 9] {
    let bf16 = Storage::bf16;
    [
        bf16(Rounding::Remainder),
        bf16(Rounding::Stochastic { seed: 7 }).grads(Format::F32).states(Format::Block8),
        Storage::f16(Rounding::Kahan).states(Format::Bf16),
        Storage::f32().states(Format::Block8),
        Storage::f16(Rounding::Master).grads(Format::Bf16).states(Format::F16),
        bf16(Rounding::Nearest),
        Storage::f32().grads(Format::F16),
        bf16(Rounding::Master).states(Format::Block8),
        bf16(Rounding::Kahan).grads(Format::F32),
    ]
    .map(|storage| storage.min_block8(0))
}

/// One without states, one with two, and one with sums.
fn rules() -> [Box<dyn DynRule>; 3] {
    let momentum = SGD { momentum: 0.9, ..Default::default() };
    [momentum.into(), Adam::default().into(), LAMB::default().into()]
}

/// The names of all states, with what is kept beside parameters.
fn states(rule: &dyn DynRule, formats: &Formats) -> Vec<&'static str> {
    let own: Vec<_> = rule.states().iter().map(|state| state.name).collect();
    own.into_iter().chain(formats.keeping.state()).collect()
}

fn random_arrays(random: &mut Random) -> Vec<Vec<f32>> {
    LENS.iter().map(|&len| random.wide_vec(len, 1e-3, 3.0)).collect()
}

async fn built(gpu: &Gpu, rule: &dyn DynRule, storage: &Storage, params: Vec<Param>) -> Optimizer {
    let builder = Optimizer::builder().group(rule.boxed(), params).storage("*", storage.clone());
    let builder = builder.zero_grad();
    builder.build_async(&gpu.device, &gpu.queue).await.expect("built")
}

fn arena() -> Vec<Param> {
    LENS.iter().enumerate().map(|(i, &len)| Param::new(name(i), len)).collect()
}

pub async fn steps_are_the_cpus_in_every_storage(gpu: &Gpu) {
    for rule in rules() {
        for storage in storages() {
            let rule = rule.as_ref();
            let mut optimizer = built(gpu, rule, &storage, arena()).await;
            let params = LENS.iter().enumerate().map(|(i, &len)| (name(i), len));
            let cpu = CpuOptimizer::<f32>::builder().group(rule.boxed(), params);
            let mut cpu = cpu.storage("*", storage.clone()).build().expect("built");
            let mut random = Random::new(17);
            for (i, values) in random_arrays(&mut random).iter().enumerate() {
                cpu.set_param(name(i), values).expect("set");
            }
            for _ in 0..STEPS {
                for (i, grad) in random_arrays(&mut random).iter().enumerate() {
                    cpu.set_grad(name(i), grad).expect("set");
                    optimizer.set_grad(name(i), grad).expect("set");
                }
                compare(gpu, (rule, &storage), &mut optimizer, &mut cpu).await;
            }
        }
    }
}

/// Takes a step of both from the CPU's arrays, and compares.
async fn compare(
    gpu: &Gpu,
    (rule, storage): (&dyn DynRule, &Storage),
    optimizer: &mut Optimizer,
    cpu: &mut CpuOptimizer<f32>,
) {
    let formats = Formats::of(storage, rule);
    let states = states(rule, &formats);
    let before: Vec<_> = (0..LENS.len()).map(|i| Stored::of(cpu, &name(i), &states)).collect();
    for (i, before) in before.iter().enumerate() {
        optimizer.set_param(name(i), &before.param).expect("set");
        for (state, bytes) in states.iter().zip(&before.states) {
            optimizer.set_state_bytes(name(i), state, bytes).expect("set");
        }
    }
    gpu.step(optimizer);
    cpu.step().expect("stepped");
    for (i, before) in before.iter().enumerate() {
        let found = stored(optimizer, i, &states).await;
        let expected = Stored::of(cpu, &name(i), &states);
        let label = format!("{} {storage:?} p{i}", rule.name());
        bounds::check(&label, &formats, before, &found, &expected);
    }
}

/// A byte that is nobody's.
const CANARY: u8 = 0xa5;

/// Where parameters and gradients start in one buffer, at any byte that the formats allow, one
/// after the other; and where the last ends.
fn packed(formats: &Formats) -> (Vec<[usize; 2]>, usize) {
    let mut next = 2;
    let mut start = |codec: Codec, len: usize| {
        let start = usize::next_multiple_of(next, codec.bytes(1) as usize);
        next = start + codec.bytes(len as u64) as usize;
        start
    };
    let starts = LENS.map(|len| [formats.param, formats.grad].map(|codec| start(codec, len)));
    (starts.to_vec(), next)
}

/// Packed in one buffer, parameters and gradients alike, and in the arena: the same bits.
pub async fn placement_changes_no_bit(gpu: &Gpu) {
    for storage in storages().into_iter().chain([Storage::f32()]) {
        let rule = Adam::default();
        let formats = Formats::of(&storage, &rule);
        let states = states(&rule, &formats);
        let (starts, end) = packed(&formats);
        let mut bytes = vec![CANARY; end.next_multiple_of(4) + 8];
        let buffer = gpu.buffer(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes).as_slice());
        let param = |(i, &len): (usize, &usize)| {
            let slice = |array: usize| (&buffer, starts[i][array] as u64);
            Param::new(name(i), len).buffers(slice(0), slice(1))
        };
        let params = LENS.iter().enumerate().map(param).collect();
        let mut packed = built(gpu, &rule, &storage, params).await;
        let mut arena = built(gpu, &rule, &storage, arena()).await;
        let mut random = Random::new(3);
        for step in 0..STEPS {
            for (array, codec) in [(0, formats.param), (1, formats.grad)] {
                if array == 0 && step > 0 {
                    continue;
                }
                for (i, values) in random_arrays(&mut random).iter().enumerate() {
                    let values: Vec<_> = values.iter().map(|&x| codec.rounded(x)).collect();
                    put(codec, &values, starts[i][array], &mut bytes);
                    match array {
                        0 => arena.set_param(name(i), &values).expect("set"),
                        _ => arena.set_grad(name(i), &values).expect("set"),
                    }
                }
            }
            gpu.queue.write_buffer(&buffer, 0, &bytes);
            gpu.step(&mut packed);
            gpu.step(&mut arena);
            for i in 0..LENS.len() {
                let [found, expected] =
                    [stored(&packed, i, &states).await, stored(&arena, i, &states).await];
                assert_eq!(found, expected, "{storage:?} p{i} step {step}");
            }
            bytes = bytemuck::pod_collect_to_vec(&gpu.read(&buffer).await);
        }
        check_canaries(&formats, &starts, bytes);
    }
}

/// Writes elements where an array starts.
fn put(codec: Codec, values: &[f32], start: usize, bytes: &mut [u8]) {
    let mut encoded = Vec::new();
    codec.encode(values, &mut encoded);
    bytes[start..start + encoded.len()].copy_from_slice(&encoded);
}

fn check_canaries(formats: &Formats, starts: &[[usize; 2]], mut bytes: Vec<u8>) {
    for (starts, len) in starts.iter().zip(LENS) {
        for (start, codec) in starts.iter().zip([formats.param, formats.grad]) {
            bytes[*start..start + codec.bytes(len as u64) as usize].fill(CANARY);
        }
    }
    assert!(bytes.iter().all(|&byte| byte == CANARY), "a byte that is nobody's was written");
}
