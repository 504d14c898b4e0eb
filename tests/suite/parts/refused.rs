//! Wrong orders are refused, and change nothing.

use crate::common::gpu::Gpu;
use wgpu_optim::{Builder, CpuOptimizer, Error, GradScaler, NAdam, Optimizer};

fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let text = result.err().expect("refused").to_string();
    for word in words {
        assert!(text.contains(word), "`{text}` lacks `{word}`");
    }
}

const PARAMS: [(&str, usize); 3] = [("a", 300), ("b", 5), ("c", 1)];

fn optimizer(control: impl Fn(Builder) -> Builder) -> Optimizer {
    let gpu = Gpu::default();
    let builder = control(Optimizer::builder().group(NAdam::default(), PARAMS));
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    for (name, len) in PARAMS {
        optimizer.set_grad(name, &vec![0.5; len]).expect("set");
    }
    optimizer
}

fn params(optimizer: &Optimizer) -> Vec<Vec<f32>> {
    optimizer.read_params(PARAMS.map(|(name, _)| name)).and_then(|read| read.wait()).expect("read")
}

#[test]
fn what_must_know_all_gradients_first_is_refused() {
    type Control = fn(Builder) -> Builder;
    let controls: [(Control, &str); 5] = [
        (|builder| builder.clip_grad_norm(1.0), "`clip_grad_norm`"),
        (|builder| builder.clip_grad_norm_max(1.0), "`clip_grad_norm_max`"),
        (|builder| builder.grad_scaler(GradScaler::default()), "`grad_scaler`"),
        (|builder| builder.skip_non_finite(), "`skip_non_finite`"),
        (|builder| builder.statistics(), "`statistics`"),
    ];
    for (control, named) in controls {
        let mut optimizer = optimizer(control);
        refused(optimizer.begin_step(), &[named, "all gradients", "`step`", "`clip_grad_value`"]);
        let steps = optimizer.read_steps().and_then(|read| read.wait()).expect("read");
        assert_eq!(steps, [0; 3]);
        optimizer.step(&mut Gpu::default().encoder()).expect("whole steps go on");
    }
    let builder = CpuOptimizer::<f32>::builder().group(NAdam::default(), PARAMS);
    let mut optimizer = builder.clip_grad_norm(1.0).build().expect("built");
    refused(optimizer.begin_step(), &["`clip_grad_norm`", "all gradients"]);
    assert_eq!(optimizer.steps("a").expect("known"), 0);
}

#[test]
fn each_parameter_has_one_turn() {
    let gpu = Gpu::default();
    let mut expected = optimizer(|builder| builder);
    let mut encoder = gpu.encoder();
    expected.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);

    let mut found = optimizer(|builder| builder);
    let mut encoder = gpu.encoder();
    let mut step = found.begin_step().expect("begun");
    refused(step.params(&mut encoder, ["a", "nobody"]), &["nobody", "Known are"]);
    refused(step.params(&mut encoder, ["a", "b", "a"]), &["`a`", "named twice", "one part only"]);
    assert_eq!((step.dispatches(), step.missing().count()), (0, 3));
    step.params(&mut encoder, ["b"]).expect("recorded");
    refused(step.params(&mut encoder, ["a", "b"]), &["`b`", "stepped already"]);
    refused(step.leave_out(["c", "b"]), &["`b`", "stepped already"]);
    assert_eq!(step.missing().collect::<Vec<_>>(), ["a", "c"]);
    refused(step.end(), &["`a`", "2 that were not: a, c", "`params`", "`leave_out`"]);
    // The step is open, and goes on.
    step.params(&mut encoder, ["c", "a"]).expect("recorded");
    step.end().expect("complete");
    let ended = ["has ended", "`begin_step`"];
    refused(step.params(&mut encoder, ["a"]), &ended);
    refused(step.leave_out(["a"]), &ended);
    refused(step.end(), &ended);
    drop(step);
    gpu.submit(encoder);
    assert!(params(&found) == params(&expected));
    assert_eq!(found.steps("a").expect("known"), 1);
}

#[test]
fn the_cpu_refuses_the_same() {
    let builder = CpuOptimizer::<f32>::builder().group(NAdam::default(), PARAMS);
    let mut optimizer = builder.build().expect("built");
    let mut step = optimizer.begin_step().expect("begun");
    step.grad_mut("a").expect("in f32").fill(0.5);
    step.params(["a"]).expect("stepped");
    refused(step.params(["a"]), &["`a`", "stepped already"]);
    step.leave_out(["b"]).expect("known");
    refused(step.params(["b"]), &["`b`", "left out"]);
    refused(step.end(), &["`c`", "1 that were not: c"]);
    step.params(["c"]).expect("stepped");
    step.end().expect("complete");
    drop(step);
    let steps: Vec<_> = optimizer.params().map(|param| param.steps).collect();
    assert_eq!(steps, [Some(1), Some(0), Some(1)]);
}

/// Where there is no room for a step's count, none has begun.
#[test]
fn a_step_beyond_all_counts_is_not_begun() {
    let mut cpu = CpuOptimizer::<f32>::builder()
        .group(wgpu_optim::Adam::default(), [("w", 1)])
        .build()
        .expect("built");
    cpu.set_steps("w", u64::from(u32::MAX)).expect("in range");
    refused(cpu.begin_step(), &["`w`", "fewer than"]);
    assert_eq!(cpu.steps("w").expect("known"), u64::from(u32::MAX));
}
