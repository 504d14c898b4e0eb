//! Step counts: what `steps` and `read_steps` tell, what a resumed run makes of it, and how far
//! they reach.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::{Adam, Builder, CpuOptimizer, Error, GradScaler, Optimizer};

const LEN: usize = 5;
const NAMES: [&str; 2] = ["a", "b"];
const STATES: [&str; 2] = ["exp_avg", "exp_avg_sq"];

/// The largest count.
const MOST: u64 = u32::MAX as u64;

fn on_gpu(control: impl Fn(Builder) -> Builder) -> Optimizer {
    let Gpu { device, queue } = Gpu::default();
    let builder = Optimizer::builder().group(Adam::default(), NAMES.map(|name| (name, LEN)));
    control(builder).build(device, queue).expect("built")
}

fn skipping(builder: Builder) -> Builder {
    builder.grad_scaler(GradScaler::constant(1.0))
}

fn on_cpu() -> CpuOptimizer<f32> {
    let builder = CpuOptimizer::builder().group(Adam::default(), NAMES.map(|name| (name, LEN)));
    builder.skip_non_finite().build().expect("built")
}

/// One optimizer's step, on either engine.
fn step(optimizer: &mut Optimizer) -> Result<(), Error> {
    let gpu = Gpu::default();
    let mut encoder = gpu.encoder();
    let recorded = optimizer.step(&mut encoder);
    gpu.submit(encoder);
    recorded
}

/// The gradients of a step; those of every odd step are bad.
fn gradient(random: &mut Random, number: usize) -> Vec<f32> {
    let mut gradient = random.wide_vec(LEN, -2.0, 0.0);
    if number % 2 == 1 {
        gradient[LEN - 1] = f32::INFINITY;
    }
    gradient
}

fn read_steps(optimizer: &Optimizer) -> Vec<u64> {
    optimizer.read_steps().and_then(|r| r.wait()).expect("read")
}

/// What a checkpoint has of a parameter.
fn saved(optimizer: &Optimizer) -> Vec<Vec<Vec<f32>>> {
    let read = |state| optimizer.read_states(NAMES, state).and_then(|r| r.wait()).expect("read");
    let params = optimizer.read_params(NAMES).and_then(|r| r.wait()).expect("read");
    [vec![params], STATES.map(read).to_vec()].concat()
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &[&str]) {
    let message = result.expect_err("refused").to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

/// Of six recorded steps the GPU takes three. `steps` does not guess, `read_steps` knows, and a run
/// resumed from what was read goes on as the one that never stopped.
#[test]
fn a_run_with_skipped_steps_resumes_from_the_counts_read() {
    let [mut whole, mut resumed] = [on_gpu(skipping), on_gpu(skipping)];
    let mut twin = on_cpu();
    let mut random = Random::new(1);
    for number in 0..6 {
        let gradients = NAMES.map(|_| gradient(&mut random, number));
        for (name, gradient) in NAMES.iter().zip(&gradients) {
            whole.set_grad(name, gradient).expect("set");
            twin.set_grad(name, gradient).expect("set");
        }
        step(&mut whole).expect("recorded");
        twin.step().expect("stepped");
    }
    refused(whole.steps("a"), &["`a`", "GPU", "skips", "read_steps"]);
    assert!(whole.params().all(|param| param.steps.is_none()));
    assert_eq!(read_steps(&whole), [3, 3]);
    assert_eq!(NAMES.map(|name| twin.steps(name).expect("known")), [3, 3]);
    assert!(twin.params().all(|param| param.steps == Some(3)));

    let arrays = saved(&whole);
    for (index, name) in NAMES.iter().enumerate() {
        resumed.set_param(name, &arrays[0][index]).expect("set");
        for (state, arrays) in STATES.iter().zip(&arrays[1..]) {
            resumed.set_state(name, state, &arrays[index]).expect("set");
        }
        resumed.set_steps(name, read_steps(&whole)[index]).expect("set");
        // What was set is known until the next step.
        assert_eq!(resumed.steps(name).expect("known"), 3);
    }
    for number in [0, 1, 2] {
        let gradients = NAMES.map(|_| gradient(&mut random, number));
        for optimizer in [&mut whole, &mut resumed] {
            for (name, gradient) in NAMES.iter().zip(&gradients) {
                optimizer.set_grad(name, gradient).expect("set");
            }
            step(optimizer).expect("recorded");
        }
        assert_eq!(saved(&whole), saved(&resumed));
    }
    assert_eq!((read_steps(&whole), read_steps(&resumed)), (vec![5, 5], vec![5, 5]));
}

/// The host knows the count of a parameter that no skippable step took, and every count where the
/// GPU decides but skips nothing.
#[test]
fn the_host_knows_a_count_until_the_gpu_may_skip_a_step_of_it() {
    let mut optimizer = on_gpu(skipping);
    optimizer.set_steps("a", 7).expect("set");
    optimizer.set_frozen(["a"], true).expect("known");
    step(&mut optimizer).expect("recorded");
    assert_eq!(optimizer.steps("a").expect("frozen, and so known"), 7);
    refused(optimizer.steps("b"), &["`b`"]);
    assert_eq!(read_steps(&optimizer), [7, 1]);
    optimizer.set_frozen(["a"], false).expect("known");
    assert_eq!(optimizer.steps("a").expect("known"), 7);
    step(&mut optimizer).expect("recorded");
    refused(optimizer.steps("a"), &["`a`"]);
    assert_eq!(read_steps(&optimizer), [8, 2]);

    for control in [|b: Builder| b, |b: Builder| b.clip_grad_norm(1.0)] {
        let mut optimizer = on_gpu(control);
        step(&mut optimizer).expect("recorded");
        assert_eq!(NAMES.map(|name| optimizer.steps(name).expect("known")), [1, 1]);
        assert_eq!(read_steps(&optimizer), [1, 1]);
    }
}

/// The last count that the GPU can hold is reached with the right coefficients; the step after it
/// is refused before anything is recorded, and so is a larger count.
#[test]
fn no_count_goes_beyond_32_bits() {
    let controls = [|b: Builder| b, skipping as fn(Builder) -> Builder];
    let mut bits = Vec::new();
    for control in controls {
        let mut optimizer = on_gpu(control);
        for too_many in [MOST + 1, u64::MAX] {
            let words = ["`a`", "4294967295", &too_many.to_string()];
            refused(optimizer.set_steps("a", too_many), &words);
        }
        optimizer.set_steps("a", MOST - 1).expect("set");
        for name in NAMES {
            optimizer.set_grad(name, &[0.5; LEN]).expect("set");
        }
        step(&mut optimizer).expect("the last that counts");
        assert_eq!(read_steps(&optimizer), [MOST, 1]);
        let arrays = saved(&optimizer);
        assert!(arrays.iter().flatten().flatten().all(|x| x.is_finite()), "{arrays:?}");
        for _ in 0..2 {
            refused(step(&mut optimizer), &["`a`", "4294967295", "set_steps"]);
            assert_eq!((&saved(&optimizer), read_steps(&optimizer)), (&arrays, vec![MOST, 1]));
        }
        optimizer.set_frozen(["a"], true).expect("known");
        step(&mut optimizer).expect("a frozen one takes no step");
        assert_eq!(read_steps(&optimizer), [MOST, 2]);
        bits.push(saved(&optimizer));
    }
    assert_eq!(bits[0], bits[1]);

    let mut twin = on_cpu();
    refused(twin.set_steps("a", MOST + 1), &["`a`", "4294967295"]);
    twin.set_steps("a", MOST - 1).expect("set");
    for name in NAMES {
        twin.set_grad(name, &[0.5; LEN]).expect("set");
    }
    twin.step().expect("the last that counts");
    let values = twin.param("b").expect("known").to_vec();
    refused(twin.step(), &["`a`", "4294967295", "set_steps"]);
    assert_eq!(twin.param("b").expect("known").to_vec(), values);
    assert_eq!(NAMES.map(|name| twin.steps(name).expect("known")), [MOST, 1]);
}
