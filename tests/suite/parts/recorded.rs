//! Parts are recorded and nothing else, and commands that are dropped cost their own part alone.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::{AdamW, LAMB, Optimizer, Rounding, Storage, wgpu};

/// More than the host writes tables for: 4 Mi elements, in each of two parts.
const LARGE: usize = (4 << 20) + 12_345;

fn own_gpu() -> Gpu {
    Gpu::new(wgpu::Limits { max_storage_buffers_per_shader_stage: 8, ..wgpu::Limits::default() })
}

/// Counters of what lives: pipelines, bind groups, buffers.
fn live(gpu: &Gpu) -> [isize; 3] {
    gpu.queue.submit([]);
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
    let hal = gpu.device.get_internal_counters().hal;
    [hal.compute_pipelines, hal.bind_groups, hal.buffers].map(|counter| counter.read())
}

fn record<'n>(
    optimizer: &mut Optimizer,
    parts: impl IntoIterator<Item = &'n [&'n str]>,
    encoder: &mut wgpu::CommandEncoder,
) -> usize {
    let mut step = optimizer.begin_step().expect("begun");
    for part in parts {
        step.params(encoder, part).expect("recorded");
    }
    step.end().expect("complete");
    step.dispatches()
}

/// Rules with sums and without, rounding by chance and not, large enough that the GPU writes the
/// tables: each part has a kernel for its own, and all are there from the start.
#[test]
fn nothing_is_submitted_or_compiled_in_the_middle() {
    let gpu = own_gpu();
    let chance = Storage::bf16(Rounding::Stochastic { seed: 1 });
    let mut optimizer = Optimizer::builder()
        .group(LAMB::default(), [("sums", LARGE)])
        .group(AdamW::default(), [("plain", LARGE), ("chance", LARGE)])
        .storage("chance", chance)
        .zero_grad()
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    optimizer.set_frozen(["sums"], true).expect("known");
    let (submitted, pipelines) = (gpu.submissions(), live(&gpu)[0]);
    let partitions: [&[&[&str]]; 3] = [
        &[&["plain"], &["chance"], &["sums"]],
        &[&["sums", "chance"], &["plain"]],
        &[&["chance", "plain", "sums"]],
    ];
    for frozen in [true, false] {
        optimizer.set_frozen(["sums"], frozen).expect("known");
        for parts in partitions {
            record(&mut optimizer, parts.iter().copied(), &mut gpu.encoder());
        }
        optimizer.step(&mut gpu.encoder()).expect("recorded");
    }
    assert_eq!(live(&gpu)[0], pipelines, "a part compiles");
    // `live` submits once itself, in each of its two calls.
    assert_eq!(gpu.submissions(), submitted + 3, "a part submits");
}

#[test]
fn the_same_parts_create_nothing_and_others_do_not_pile_up() {
    let gpu = own_gpu();
    let names: Vec<_> = (0..6).map(|i| format!("p{i}")).collect();
    let params = names.iter().map(|name| (name.as_str(), 700));
    let builder = Optimizer::builder().group(AdamW::default(), params);
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let steps = |optimizer: &mut Optimizer, len: usize| {
        let mut encoder = gpu.encoder();
        let dispatches = record(optimizer, names.chunks(len), &mut encoder);
        gpu.submit(encoder);
        dispatches
    };
    // One kernel and two buffers: a dispatch for each part.
    assert_eq!([1, 2, 6].map(|len| steps(&mut optimizer, len)), [6, 3, 1]);
    let before = live(&gpu);
    // What a recorded command uses lives until it has run, so whatever a step created is counted.
    let mut encoder = gpu.encoder();
    for len in [1, 2, 6].repeat(10) {
        record(&mut optimizer, names.chunks(len), &mut encoder);
    }
    assert_eq!(live(&gpu), before);
    gpu.submit(encoder);

    // Parts that are others in each step.
    let mut random = Random::new(2);
    let mut most = 0;
    for _ in 0..200 {
        let subset = 1 + random.next() % 62;
        let of = |is_in: bool| -> Vec<&str> {
            (0..6).filter(|i| (subset >> i & 1 == 1) == is_in).map(|i| names[i]).collect()
        };
        let (one, other) = (of(true), of(false));
        let mut encoder = gpu.encoder();
        record(&mut optimizer, [&one[..], &other[..]], &mut encoder);
        gpu.submit(encoder);
        most = most.max(live(&gpu)[1] - before[1]);
    }
    assert!((4..=30).contains(&most), "{most} bind groups more");
}

fn values(optimizer: &Optimizer) -> Vec<Vec<u32>> {
    let read = optimizer.read_params(["a", "b"]).and_then(|read| read.wait()).expect("read");
    read.iter().map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
}

fn large(gpu: &Gpu) -> Optimizer {
    let params = [("a", LARGE), ("b", LARGE)];
    let builder = Optimizer::builder().group(AdamW { lr: 0.1, ..Default::default() }, params);
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    let mut random = Random::new(6);
    for name in ["a", "b"] {
        optimizer.set_grad(name, &random.wide_vec(LARGE, 1e-2, 1.0)).expect("set");
    }
    optimizer
}

/// The first commands of a part write its tables. One part's are dropped, the other's run: each
/// writes its own until they are known to be there.
#[test]
fn a_dropped_part_costs_its_own_parameters_step_alone() {
    let gpu = Gpu::default();
    let [mut expected, mut found] = [large(gpu), large(gpu)];
    let dropped = [true, false, false];
    for drops in dropped {
        let mut encoder = gpu.encoder();
        if drops {
            let mut step = expected.begin_step().expect("begun");
            step.params(&mut encoder, ["a"]).expect("recorded");
            drop(step);
            expected.set_steps("b", 1).expect("in range");
        } else {
            expected.step(&mut encoder).expect("recorded");
        }
        gpu.submit(encoder);
        let [mut first, mut second] = [gpu.encoder(), gpu.encoder()];
        let mut step = found.begin_step().expect("begun");
        step.params(&mut first, ["a"]).expect("recorded");
        step.params(&mut second, ["b"]).expect("recorded");
        step.end().expect("complete");
        drop(step);
        if !drops {
            // In the other order.
            gpu.submit(second);
        }
        gpu.submit(first);
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
    }
    // What was recorded was counted.
    assert_eq!(found.steps("b").expect("known"), 3);
    assert!(values(&expected) == values(&found));
}

/// The same where the host sets the count right after the loss.
#[test]
fn a_dropped_part_is_set_right_by_its_count() {
    let gpu = Gpu::default();
    let [mut expected, mut found] = [large(gpu), large(gpu)];
    for round in 0..3 {
        for (optimizer, drops) in [(&mut expected, false), (&mut found, true)] {
            let [mut first, mut second] = [gpu.encoder(), gpu.encoder()];
            let mut step = optimizer.begin_step().expect("begun");
            step.params(&mut first, ["a"]).expect("recorded");
            if round > 0 || drops {
                step.params(&mut second, ["b"]).expect("recorded");
            }
            drop(step);
            gpu.submit(first);
            if round > 0 {
                gpu.submit(second);
            } else if drops {
                drop(second);
                optimizer.set_steps("b", 0).expect("known");
            }
            gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
        }
    }
    assert_eq!(found.steps("b").expect("known"), 2);
    assert!(values(&expected) == values(&found));
}
