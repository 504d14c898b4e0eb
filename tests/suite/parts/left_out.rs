//! Parameters that a step leaves out, and steps that are dropped before their end.

use crate::common::gpu::Gpu;
use wgpu_optim::{CpuOptimizer, NAdam, Optimizer};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const LEN: usize = 300;

/// What the test's other parameters do in a step in which these are not stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Frozen,
    LeftOut,
    Dropped,
}

const WITHOUT: [Without; 3] = [Without::Frozen, Without::LeftOut, Without::Dropped];

/// Which parameters are not stepped, step by step.
const ABSENT: [&[&str]; 6] = [&[], &["b"], &["b", "c"], &[], &["a", "b", "c", "d"], &["c"]];

fn values(seed: usize) -> Vec<f32> {
    (0..LEN).map(|i| ((7 * i + 13 * seed) % 17) as f32 - 8.5).collect()
}

fn present(absent: &[&str]) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| !absent.contains(name)).collect()
}

type Bits = Vec<Vec<u32>>;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// NAdam keeps scalars with its counts; in two groups.
fn on_gpu(without: Without) -> (Bits, Vec<u64>) {
    let gpu = Gpu::default();
    let mut optimizer = Optimizer::builder()
        .group(NAdam::default(), [("a", LEN), ("b", LEN)])
        .group(NAdam { lr: 0.1, ..Default::default() }, [("c", LEN), ("d", LEN)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    for (at, absent) in ABSENT.iter().enumerate() {
        for (seed, name) in NAMES.iter().enumerate() {
            optimizer.set_grad(*name, &values(seed + at)).expect("set");
        }
        let mut encoder = gpu.encoder();
        if without == Without::Frozen {
            optimizer.set_frozen(absent.iter().copied(), true).expect("known");
            optimizer.step(&mut encoder).expect("recorded");
            optimizer.set_frozen(absent.iter().copied(), false).expect("known");
        } else {
            let mut step = optimizer.begin_step().expect("begun");
            step.params(&mut encoder, present(absent)).expect("recorded");
            if without == Without::LeftOut {
                step.leave_out(absent.iter().copied()).expect("known");
                step.end().expect("complete");
            }
        }
        gpu.submit(encoder);
    }
    let read = NAMES.map(|name| optimizer.read_param(name).and_then(|r| r.wait()).expect("read"));
    let steps = NAMES.map(|name| optimizer.steps(name).expect("known"));
    (read.iter().map(|values| bits(values)).collect(), steps.to_vec())
}

fn on_cpu(without: Without) -> (Bits, Vec<u64>) {
    let mut optimizer = CpuOptimizer::<f32>::builder()
        .group(NAdam::default(), [("a", LEN), ("b", LEN)])
        .group(NAdam { lr: 0.1, ..Default::default() }, [("c", LEN), ("d", LEN)])
        .build()
        .expect("built");
    for (at, absent) in ABSENT.iter().enumerate() {
        for (seed, name) in NAMES.iter().enumerate() {
            optimizer.set_grad(*name, &values(seed + at)).expect("set");
        }
        if without == Without::Frozen {
            optimizer.set_frozen(absent.iter().copied(), true).expect("known");
            optimizer.step().expect("stepped");
            optimizer.set_frozen(absent.iter().copied(), false).expect("known");
            continue;
        }
        let mut step = optimizer.begin_step().expect("begun");
        step.params(present(absent)).expect("stepped");
        if without == Without::LeftOut {
            step.leave_out(absent.iter().copied()).expect("known");
            step.end().expect("complete");
        }
    }
    let values = NAMES.map(|name| optimizer.param(name).expect("known").to_vec());
    let steps = NAMES.map(|name| optimizer.steps(name).expect("known"));
    (values.iter().map(|values| bits(values)).collect(), steps.to_vec())
}

#[test]
fn what_a_step_leaves_out_is_as_if_it_had_been_frozen() {
    for found in [WITHOUT.map(on_gpu), WITHOUT.map(on_cpu)] {
        let [frozen, left_out, dropped] = found;
        assert_eq!(frozen.1, [5, 3, 3, 5]);
        assert!(frozen == left_out, "{:?}", left_out.1);
        assert!(frozen == dropped, "{:?}", dropped.1);
    }
}
