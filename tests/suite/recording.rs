//! A step is recorded, composes with others, and creates nothing.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::{Adam, AdamW, CpuOptimizer, Optimizer, SGD, wgpu};

const LEN: usize = 1000;

fn adam(lr: f64) -> Adam {
    Adam { lr, ..Default::default() }
}

fn optimizer(gpu: &Gpu) -> Optimizer {
    let mut optimizer = Optimizer::builder()
        .group(adam(0.1), [("w", LEN)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let mut random = Random::new(1);
    optimizer.set_param("w", &random.wide_vec(LEN, -2.0, 2.0)).expect("set");
    optimizer.set_grad("w", &random.wide_vec(LEN, -2.0, 2.0)).expect("set");
    optimizer
}

fn bits(optimizer: &Optimizer) -> Vec<u32> {
    let values = optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
    values.iter().map(|x| x.to_bits()).collect()
}

/// Learning rates that differ from step to step.
fn lr(step: usize) -> f64 {
    0.1 / (1.0 + step as f64)
}

/// Many more steps than the optimizer has slots for at first, each submitted and waited for.
fn one_by_one(gpu: &Gpu, steps: usize) -> Vec<u32> {
    let mut optimizer = optimizer(gpu);
    for step in 0..steps {
        optimizer.set_lr(0, lr(step)).expect("in range");
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
    }
    bits(&optimizer)
}

#[test]
fn steps_recorded_before_one_submit_equal_separate_submits() {
    let gpu = Gpu::default();
    for steps in [2, 63, 64, 65, 300] {
        let expected = one_by_one(gpu, steps);

        let mut one_encoder = optimizer(gpu);
        let mut encoder = gpu.encoder();
        for step in 0..steps {
            one_encoder.set_lr(0, lr(step)).expect("in range");
            one_encoder.step(&mut encoder).expect("recorded");
        }
        gpu.submit(encoder);
        assert!(bits(&one_encoder) == expected, "{steps} steps in one encoder");

        let mut one_pass = optimizer(gpu);
        let mut encoder = gpu.encoder();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for step in 0..steps {
            one_pass.set_lr(0, lr(step)).expect("in range");
            one_pass.step_in_pass(&mut pass).expect("recorded");
        }
        drop(pass);
        gpu.submit(encoder);
        assert!(bits(&one_pass) == expected, "{steps} steps in one pass");

        let mut many_encoders = optimizer(gpu);
        let commands: Vec<_> = (0..steps)
            .map(|step| {
                many_encoders.set_lr(0, lr(step)).expect("in range");
                let mut encoder = gpu.encoder();
                many_encoders.step(&mut encoder).expect("recorded");
                encoder.finish()
            })
            .collect();
        gpu.queue.submit(commands);
        assert!(bits(&many_encoders) == expected, "{steps} steps in encoders submitted together");
    }
}

/// Commands that are dropped give their slots back, and submitted ones that have not run keep
/// theirs.
#[test]
fn dropped_commands_take_no_room_and_change_nothing() {
    let gpu = Gpu::new(wgpu::Limits::default());
    let mut optimizer = optimizer(&gpu);
    let before = bits(&optimizer);
    let buffers = || gpu.device.get_internal_counters().hal.buffer_memory.read();
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
    let memory = buffers();
    for _ in 0..1000 {
        optimizer.step(&mut gpu.encoder()).expect("recorded");
    }
    gpu.queue.submit([]);
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
    assert_eq!(buffers(), memory, "the optimizer grew");
    assert!(bits(&optimizer) == before);
}

#[test]
fn a_steady_step_creates_nothing_and_new_hyperparameters_compile_nothing() {
    // A device of its own: the counters count everyone's.
    let gpu = Gpu::new(wgpu::Limits::default());
    let mut optimizer = optimizer(&gpu);
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");

    let live = || {
        let hal = gpu.device.get_internal_counters().hal;
        [hal.bind_groups, hal.compute_pipelines, hal.pipeline_layouts, hal.shader_modules]
            .map(|counter| counter.read())
    };
    let buffers = || gpu.device.get_internal_counters().hal.buffers.read();
    let (before, buffers_before) = (live(), buffers());
    assert!(before.iter().all(|&count| count > 0), "the counters count: {before:?}");
    // What a recorded command uses lives until it has run, so whatever a step created is counted.
    let mut encoder = gpu.encoder();
    for step in 0..50u32 {
        let numbers = Adam {
            lr: lr(step as usize),
            betas: (0.5, 0.9 - 0.01 * f64::from(step)),
            eps: 1e-3,
            weight_decay: 0.01 * f64::from(step),
            maximize: step % 2 == 1,
            ..Default::default()
        };
        optimizer.set_rule(0, numbers).expect("the same options");
        optimizer.step(&mut encoder).expect("recorded");
    }
    assert_eq!(live(), before);
    gpu.submit(encoder);
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
    assert_eq!(buffers(), buffers_before);
}

/// A step is ordered within the caller's commands: after what was recorded before it, before what
/// comes after.
#[test]
fn a_step_keeps_its_place_among_the_callers_commands() {
    let gpu = Gpu::default();
    let params = gpu.buffer(&[1.0; 4]);
    let grads = gpu.buffer(&[0.0; 4]);
    let ones = gpu.buffer(&[1.0; 4]);
    let copy = gpu.buffer(&[0.0; 4]);
    let param = wgpu_optim::Param::new("w", 4).buffers(&params, &grads);
    let mut optimizer = Optimizer::builder()
        .group(SGD { lr: 0.25, ..Default::default() }, [param])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let mut encoder = gpu.encoder();
    encoder.copy_buffer_to_buffer(&ones, 0, &grads, 0, 16);
    optimizer.step(&mut encoder).expect("recorded");
    encoder.copy_buffer_to_buffer(&params, 0, &copy, 0, 16);
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    assert_eq!(gpu.read(&copy), [0.75f32.to_bits(); 4]);
    assert_eq!(gpu.read(&params), [0.5f32.to_bits(); 4]);
}

/// The same nouns on both sides, in a host loop with gradients in ndarray; and several rules at
/// once.
#[test]
fn a_host_loop_reads_the_same_on_cpu_and_gpu() {
    let gpu = Gpu::default();
    let decay = AdamW { lr: 0.05, ..Default::default() };
    let plain = SGD { lr: 0.01, momentum: 0.9, ..Default::default() };
    let mut on_gpu = Optimizer::builder()
        .group(decay, [("w", 6), ("empty", 0)])
        .group(plain, [("b", 3)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let mut on_cpu = CpuOptimizer::<f32>::builder()
        .group(decay, [("w", 6), ("empty", 0)])
        .group(plain, [("b", 3)])
        .build()
        .expect("built");
    let w = ndarray::array![[1.0f32, -2.0], [3.0, 0.5], [0.0, 4.0]];
    on_gpu.set_param("w", &w).expect("set");
    on_cpu.set_param("w", &w).expect("set");
    for step in 0..10 {
        let gradient = w.mapv(|x| x - step as f32);
        on_gpu.set_grad("w", &gradient).expect("set");
        on_cpu.set_grad("w", &gradient).expect("set");
        on_gpu.set_grad("b", &[1.0, -1.0, 0.5]).expect("set");
        on_cpu.set_grad("b", &[1.0, -1.0, 0.5]).expect("set");
        let mut encoder = gpu.encoder();
        on_gpu.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        on_cpu.step().expect("stepped");
    }
    for name in ["w", "b", "empty"] {
        // Reads block, or are awaited while something polls the device.
        let blocking = on_gpu.read_param(name).and_then(|r| r.wait()).expect("read");
        let reading = on_gpu.read_param(name).expect("started");
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
        let awaited = pollster::block_on(reading).expect("read");
        assert_eq!(blocking, awaited);
        for (found, expected) in blocking.iter().zip(on_cpu.param(name).expect("there")) {
            assert!((found - expected).abs() <= 1e-6, "{name}: {found} for {expected}");
        }
    }
    let momentum = on_gpu.read_state("b", "momentum_buffer").and_then(|r| r.wait()).expect("read");
    let expected = on_cpu.state("b", "momentum_buffer").expect("there");
    assert!(momentum.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-5));
    assert_eq!((on_gpu.groups(), on_cpu.groups()), (2, 2));
    assert_eq!(on_gpu.steps("b").expect("a group"), 10);
    assert_eq!(on_cpu.steps("b").expect("a group"), 10);
}
