//! Gradients that are in one memory, one after the other.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::{AdamW, Builder, Error, Format, LAMB, Optimizer, Param, Rounding, Storage, wgpu};

const LENS: [usize; 4] = [700, 3, 2049, 700];

/// Where each gradient starts in the arena: all overlap one another in some way.
const STARTS: [u64; 4] = [2, 1000, 0, 2];

/// Elements of the arena, with some that are nobody's.
const ARENA: usize = 2060;

const CANARY: f32 = -77.0;

fn name(param: usize) -> String {
    format!("p{param}")
}

fn param(index: usize, value: &wgpu::Buffer, arena: &wgpu::Buffer) -> Param {
    Param::new(name(index), LENS[index]).buffers(value, (arena, 4 * STARTS[index]))
}

/// A part's commands: the gradient is copied to the arena, then stepped.
fn record(
    optimizer: &mut Optimizer,
    gpu: &Gpu,
    arena: &wgpu::Buffer,
    sources: &[wgpu::Buffer],
) -> wgpu::CommandEncoder {
    let mut encoder = gpu.encoder();
    let mut step = optimizer.begin_step().expect("begun");
    for index in [3, 1, 0, 2] {
        let bytes = 4 * LENS[index] as u64;
        encoder.copy_buffer_to_buffer(&sources[index], 0, arena, 4 * STARTS[index], bytes);
        step.params(&mut encoder, [name(index)]).expect("recorded");
    }
    step.end().expect("complete");
    encoder
}

fn follow(storage: &Storage, control: fn(Builder) -> Builder, zeroed: bool) {
    let gpu = Gpu::default();
    let mut random = Random::new(5);
    let values = LENS.map(|len| gpu.buffer(&random.wide_vec(len, 1e-2, 2.0)));
    let copies = values.each_ref().map(|value| {
        let bits = gpu.read(value);
        gpu.buffer(&bits.iter().map(|&x| f32::from_bits(x)).collect::<Vec<_>>())
    });
    let arena = gpu.buffer(&[CANARY; ARENA]);
    let grads = LENS.map(|len| gpu.buffer(&vec![0.0; len]));
    let groups = |builder: Builder, params: Vec<Param>| {
        let mut params = params.into_iter();
        let first: Vec<_> = params.by_ref().take(2).collect();
        let builder = builder.group(AdamW::default(), first).group(LAMB::default(), params);
        control(builder).storage("*", storage.clone()).build(&gpu.device, &gpu.queue)
    };
    let own = (0..4).map(|i| Param::new(name(i), LENS[i]).buffers(&copies[i], &grads[i]));
    let mut whole = groups(Optimizer::builder(), own.collect()).expect("built");
    let shared = (0..4).map(|i| param(i, &values[i], &arena)).collect();
    let mut parts = groups(Optimizer::builder().shared_grads(), shared).expect("built");
    for _ in 0..3 {
        let sources = LENS.map(|len| gpu.buffer(&random.wide_vec(len, 1e-2, 2.0)));
        let mut encoder = gpu.encoder();
        for ((source, grad), len) in sources.iter().zip(&grads).zip(LENS) {
            encoder.copy_buffer_to_buffer(source, 0, grad, 0, 4 * len as u64);
        }
        whole.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        gpu.submit(record(&mut parts, gpu, &arena, &sources));
        for (found, expected) in values.iter().zip(&copies) {
            assert!(gpu.read(found) == gpu.read(expected), "{storage:?}");
        }
        let arena = gpu.read(&arena);
        assert!(arena[2049..].iter().all(|&bits| bits == CANARY.to_bits()));
        assert_eq!(arena[..2049].iter().all(|&bits| bits == 0), zeroed);
    }
}

#[test]
fn gradients_in_one_memory_step_as_those_in_their_own() {
    follow(&Storage::f32(), |builder| builder, false);
    let small = Storage::f32().states(Format::Block8).min_block8(0);
    follow(&small, |builder| builder.zero_grad().clip_grad_value(0.5), true);
}

fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let text = result.err().expect("refused").to_string();
    for word in words {
        assert!(text.contains(word), "`{text}` lacks `{word}`");
    }
}

/// A parameter's name, its elements, and the buffer and element where it and its gradient start.
type Place = (&'static str, usize, [(usize, u64); 2]);

fn build(places: &[Place]) -> Result<Optimizer, Error> {
    let gpu = Gpu::default();
    let buffers = [0, 1].map(|_| gpu.buffer(&[0.0; 64]));
    let param = |&(name, len, [(p, at), (g, from)]): &Place| {
        Param::new(name, len).buffers((&buffers[p], 4 * at), (&buffers[g], 4 * from))
    };
    let builder = Optimizer::builder().shared_grads();
    builder.group(AdamW::default(), places.iter().map(param)).build(&gpu.device, &gpu.queue)
}

#[test]
fn parameters_overlap_nothing_even_where_gradients_may() {
    build(&[("a", 8, [(0, 0), (1, 0)]), ("b", 8, [(0, 8), (1, 4)])]).expect("gradients only");
    let places = [("a", 8, [(0, 0), (1, 0)]), ("b", 8, [(0, 7), (1, 0)])];
    refused(build(&places), &["`b`", "parameter buffer", "`a`", "disjoint"]);
    // The gradient that reaches to the parameter is not the one that starts last before it.
    let places = [("a", 40, [(0, 0), (1, 0)]), ("b", 2, [(1, 30), (1, 4)])];
    refused(build(&places), &["`b`", "gradient buffer of `a`", "disjoint"]);
    let places = [("a", 40, [(1, 0), (0, 0)]), ("b", 2, [(0, 40), (1, 30)])];
    refused(build(&places), &["`b`", "parameter buffer of `a`", "disjoint"]);
}

#[test]
fn what_shares_memory_is_not_stepped_at_once() {
    let gpu = Gpu::default();
    let places =
        [("a", 8, [(0, 0), (1, 0)]), ("b", 8, [(0, 8), (1, 4)]), ("c", 8, [(0, 16), (1, 12)])];
    let mut optimizer = build(&places).expect("built");
    let mut encoder = gpu.encoder();
    for result in [
        optimizer.step(&mut encoder),
        optimizer.step_in_pass(&mut encoder.begin_compute_pass(&Default::default())),
        optimizer.dispatches().map(|_| ()),
    ] {
        refused(result, &["`shared_grads`", "overwritten", "`begin_step`"]);
    }
    assert_eq!(optimizer.steps("a").expect("known"), 0);
    let mut step = optimizer.begin_step().expect("begun");
    refused(step.params(&mut encoder, ["a", "b"]), &["`b`", "`a`", "same call", "a call each"]);
    assert_eq!(step.dispatches(), 0);
    step.params(&mut encoder, ["c", "a"]).expect("they are apart");
    step.params(&mut encoder, ["b"]).expect("alone");
    step.end().expect("complete");
}

/// Parameters move as ever; places are held to the same.
#[test]
fn gradients_may_move_onto_each_other() {
    let gpu = Gpu::default();
    let [values, arena] = [0, 1].map(|_| gpu.buffer(&[0.5; 64]));
    let place = |at: u64, grad: u64| wgpu_optim::Place::new((&values, 4 * at), (&arena, 4 * grad));
    for shared in [false, true] {
        let builder = Optimizer::builder();
        let builder = if shared { builder.shared_grads() } else { builder };
        let params = ["a", "b"].iter().enumerate().map(|(index, name)| {
            let at = 32 * index as u64;
            Param::new(*name, 16).buffers((&values, 4 * at), (&arena, 4 * at))
        });
        let storage = Storage::bf16(Rounding::Nearest);
        let builder = builder.group(AdamW::default(), params).storage("none", storage);
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        let moved = optimizer.set_buffers([("b", place(32, 0))]);
        assert_eq!(moved.is_ok(), shared);
        refused(optimizer.set_buffers([("b", place(8, 0))]), &["`b`", "`a`", "disjoint"]);
    }
}
