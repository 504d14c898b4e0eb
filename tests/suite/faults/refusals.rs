//! Bad input, in one table: the call, and what its message must name (who, what was expected, what
//! was found, what to do). All calls are made on one optimizer, between its steps, and in the end
//! it has the bits of a twin that saw none of them.

use super::common::{CONTROLS, LEN, bits, buffers, build, built, expected, goes_on, refused, step};
use crate::common::gpu::Gpu;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{
    Adam, AdamW, Builder, Error, GradScaler, NAdam, Optimizer, Param, Place, RMSprop, SGD,
};

/// An optimizer, and what bad calls need beside it.
struct Setup<'a> {
    gpu: &'a Gpu,
    optimizer: &'a mut Optimizer,
    /// Buffers that would do.
    good: [wgpu::Buffer; 2],
    other: Optimizer,
}

type Call = fn(&mut Setup<'_>) -> Result<(), Error>;

fn buffer(setup: &Setup<'_>, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    setup.gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

/// Moves `w` with its parameter in a good buffer, and its gradient in another.
fn moved(setup: &mut Setup<'_>, size: u64, usage: BufferUsages) -> Result<(), Error> {
    let grad = buffer(setup, size, usage);
    setup.optimizer.set_buffers([("w", Place::new(&setup.good[0], &grad))])
}

/// Builds another optimizer on the same device.
fn also(
    setup: &Setup<'_>,
    control: impl Fn(Builder) -> Builder,
    rule: impl Into<Box<dyn wgpu_optim::DynRule>>,
) -> Result<(), Error> {
    let builder = control(Optimizer::builder().group(rule, [("v", 3)]));
    builder.build(&setup.gpu.device, &setup.gpu.queue).map(drop)
}

fn add(setup: &mut Setup<'_>, param: impl Into<Param>) -> Result<(), Error> {
    setup.optimizer.add_group(Adam::default(), [param]).map(drop)
}

const STORAGE: BufferUsages = BufferUsages::STORAGE;
const BYTES: u64 = 4 * LEN as u64;

/// Calls that any optimizer refuses.
const ALWAYS: &[(Call, &[&str])] = &[
    // Names, handles, groups, states.
    (|s| s.optimizer.set_param("v", &[1.0]), &["`v`", "a parameter of this", "none", "are: w"]),
    (|s| s.optimizer.set_grad("", &[1.0]), &["``", "a parameter of this", "none", "are: w"]),
    (|s| s.optimizer.read_param("W").map(drop), &["`W`", "name", "none", "Known"]),
    (|s| s.optimizer.read_grad("w ").map(drop), &["`w `", "name", "none", "Known"]),
    (|s| s.optimizer.param("x").map(drop), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.grad("x").map(drop), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.id("x").map(drop), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.param_info("x").map(drop), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.steps("x").map(drop), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.set_steps("x", 3), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.set_frozen(["w", "x"], true), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.is_frozen("x").map(drop), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.remove_buffers(["w", "x"]), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.move_to_group(["x"], 0), &["`x`", "name", "none", "Known"]),
    (|s| s.optimizer.set_lr(9, 0.1), &["group 9", "an index below 1", "found 9", "counted from 0"]),
    (|s| s.optimizer.rule(1).map(drop), &["group 1", "an index below 1", "found 1", "counted"]),
    (
        |s| s.optimizer.move_to_group(["w"], 4),
        &["group 4", "an index below 1", "found 4", "counted from 0"],
    ),
    (
        |s| s.optimizer.set_state("w", "momentum", &[0.0; LEN]),
        &["`w`", "a state that adam keeps", "found `momentum`", "exp_avg, exp_avg_sq"],
    ),
    (
        |s| s.optimizer.read_state("w", "max_exp_avg_sq").map(drop),
        &["`w`", "present options", "found `max_exp_avg_sq`", "It keeps"],
    ),
    (
        |s| s.other.id("v2").and_then(|id| s.optimizer.set_steps(id, 1)),
        &["handle 2", "this optimizer", "one of another", "Ask this optimizer"],
    ),
    // Numbers of values.
    (
        |s| s.optimizer.set_param("w", &[0.0; LEN + 1]),
        &["`w`", "300 values, of shape [300]", "found 301 values", "row-major"],
    ),
    (
        |s| s.optimizer.set_grad("w", &[0.0; 0]),
        &["`w`", "300 values", "found 0 values", "all elements"],
    ),
    (
        |s| s.optimizer.set_state("w", "exp_avg", &[0.0; 1]),
        &["`w`", "300 values", "found 1 values", "all elements"],
    ),
    // Hyperparameters.
    (|s| s.optimizer.set_lr(0, f64::NAN), &["Adam: `lr`", "at least 0", "NaN", "maximize"]),
    (|s| s.optimizer.set_lr(0, -1e-3), &["Adam: `lr`", "at least 0", "-0.001", "maximize"]),
    (|s| s.optimizer.set_base_lr(f64::INFINITY), &["`lr`", "finite", "inf", "Give"]),
    (
        |s| s.optimizer.set_rule(0, Adam { betas: (0.9, 1.0), ..Default::default() }),
        &["Adam: `betas.1`", "[0, 1)", "is 1", "such as 0.9"],
    ),
    (
        |s| s.optimizer.set_rule(0, Adam { amsgrad: true, ..Default::default() }),
        &["group 0", "as the optimizer was built", "amsgrad", "build another"],
    ),
    (
        |s| s.optimizer.set_rule(0, SGD::default()),
        &["group 0", "adam", "sgd", "build another optimizer"],
    ),
    (
        |s| s.optimizer.add_group(AdamW { eps: -1.0, ..Default::default() }, [("v", 3)]).map(drop),
        &["AdamW: `eps`", "at least 0", "-1", "Give"],
    ),
    (
        |s| also(s, |b| b, RMSprop { alpha: 1.5, ..Default::default() }),
        &["RMSprop: `alpha`", "[0, 1)", "1.5", "Give"],
    ),
    (
        |s| also(s, |b| b, NAdam { momentum_decay: -1.0, ..Default::default() }),
        &["NAdam: `momentum_decay`", "at least 0", "-1", "Give"],
    ),
    // Buffers.
    (
        |s| moved(s, BYTES, BufferUsages::UNIFORM),
        &["`w`", "the usage", "STORAGE", "UNIFORM", "Add the usage"],
    ),
    (
        |s| moved(s, BYTES - 4, STORAGE),
        &["`w`", "gradient buffer that holds 300 elements", "1196 bytes", "Make the buffer larger"],
    ),
    (
        |s| s.optimizer.set_buffers([("w", Place::new(&s.good[0], (&s.good[1], 2)))]),
        &["`w`", "multiple of 4 bytes", "found 2", "Align"],
    ),
    (
        |s| s.optimizer.set_buffers([("w", Place::new(&s.good[0], (&s.good[1], u64::MAX - 3)))]),
        &["`w`", "gradient buffer", "1200 bytes", "correct length and offset"],
    ),
    (
        |s| s.optimizer.set_buffers([("w", Place::new(s.good[0].slice(..8), &s.good[1]))]),
        &["`w`", "at least 1200 bytes", "found 8 bytes", "whole tensor"],
    ),
    (
        |s| s.optimizer.set_buffers([("w", Place::new(&s.good[0], &s.good[0]))]),
        &["`w`", "a range of the gradient", "a buffer in which", "disjoint"],
    ),
    (
        |s| {
            let place = Place::new(&s.good[0], &s.good[1]);
            s.optimizer.set_buffers([("w", place.clone()), ("x", place)])
        },
        &["`x`", "name", "none", "Known"],
    ),
    (
        |s| {
            let [p, g] = [0, 1].map(|_| buffer(s, BYTES, STORAGE));
            let mut built = build(s.gpu, CONTROLS[0], [&p, &g])?;
            built.set_param("w", &[0.0; LEN])
        },
        &["`w`", "usage", "COPY_DST", "STORAGE", "Add the usage"],
    ),
    (
        |s| {
            let [p, g] = [0, 1].map(|_| buffer(s, BYTES, STORAGE));
            build(s.gpu, CONTROLS[0], [&p, &g])?.zero_grad(&mut s.gpu.encoder())
        },
        &["`w`", "usage", "COPY_DST", "STORAGE", "Add the usage"],
    ),
    (
        |s| {
            let [p, g] = [0, 1].map(|_| buffer(s, BYTES, STORAGE));
            build(s.gpu, CONTROLS[0], [&p, &g])?.read_grad("w").map(drop)
        },
        &["`w`", "usage", "COPY_SRC", "STORAGE", "Add the usage"],
    ),
    (
        |s| s.other.set_buffers([("v0", Place::new(&s.good[0], &s.good[1]))]),
        &["`v0`", "in buffers of yours", "the optimizer's own", "set_param"],
    ),
    (
        |s| s.other.remove_buffers(["v1"]),
        &["`v1`", "in buffers of yours", "the optimizer's own", "Freeze it"],
    ),
    // Parameters that are added.
    (|s| add(s, ("w", 3)), &["`w`", "no other parameter", "group 0 and again in group 1", "Give"]),
    (|s| add(s, ("v", usize::MAX)), &["`v`", "at most", "found", "Correct"]),
    (|s| add(s, Param::new("v", [1 << 40, 1 << 40])), &["`v`", "at most", "found", "Correct"]),
    (
        |s| {
            let param = Param::new("v", LEN + 1).buffers(&s.good[0], &s.good[1]);
            add(s, param)
        },
        &["`v`", "holds 301 elements", "1200 bytes", "Make the buffer larger"],
    ),
    (
        |s| also(s, |b| b.lr_multiplier(-1.0), Adam::default()),
        &["group 0", "learning-rate multiplier", "-1", "leaves the learning rate"],
    ),
    (
        |s| {
            let builder = Optimizer::builder().lr_multiplier(2.0);
            builder.build(&s.gpu.device, &s.gpu.queue).map(drop)
        },
        &["a group before `lr_multiplier`", "Call it after"],
    ),
    (
        |s| {
            let rules = [("a*", Adam::default())];
            let builder = Optimizer::builder().groups_by_name(rules, [("b", 3)]);
            builder.build(&s.gpu.device, &s.gpu.queue).map(drop)
        },
        &["`b`", "one of the patterns matches: a*", "none that does", "End the patterns"],
    ),
    // Around the step.
    (|s| s.optimizer.set_micro_batches(0), &["micro_batches", "at least 1", "0"]),
    (|s| also(s, |b| b.clip_grad_norm(-1.0), Adam::default()), &["clip_grad_norm", "0", "-1"]),
    (
        |s| also(s, |b| b.clip_grad_value(f64::NAN), Adam::default()),
        &["clip_grad_value", "0", "NaN"],
    ),
    (
        |s| also(s, |b| b.grad_scaler(GradScaler::constant(0.0)), Adam::default()),
        &["GradScaler", "scale", "0"],
    ),
    (|s| s.optimizer.set_clip_grad_value(1.0), &["clip_grad_value", "when the optimizer is built"]),
    (|s| s.optimizer.loss_scale().map(drop), &["grad_scaler", "when the optimizer is built"]),
];

/// Calls that are refused by an optimizer of which nothing was asked.
const PLAIN: &[(Call, &[&str])] = &[
    (|s| s.optimizer.set_clip_grad_norm(1.0), &["clip_grad_norm", "when the optimizer is built"]),
    (
        |s| s.optimizer.read_statistics().map(drop),
        &["`statistics`", "Ask for one of them when the optimizer is built"],
    ),
];

/// Calls that are refused by an optimizer that clips.
const CLIPPING: &[(Call, &[&str])] =
    &[(|s| s.optimizer.set_clip_grad_norm(f64::INFINITY), &["clip_grad_norm", "inf"])];

#[test]
fn bad_input_is_refused_with_words_and_leaves_no_trace() {
    let gpu = Gpu::default();
    assert!(ALWAYS.len() >= 40);
    for (control, more) in CONTROLS.into_iter().zip([PLAIN, CLIPPING]) {
        let mut optimizer = built(gpu, control);
        step(gpu, &mut optimizer);
        let other = Optimizer::builder()
            .group(Adam::default(), [("v0", 3), ("v1", 3), ("v2", 3)])
            .build(&gpu.device, &gpu.queue)
            .expect("built");
        let good = buffers(gpu);
        let mut setup = Setup { gpu, optimizer: &mut optimizer, good, other };
        let mut steps = 1;
        for (row, (call, words)) in ALWAYS.iter().chain(more).enumerate() {
            println!("row {row}");
            refused(call(&mut setup), words);
            if row % 16 == 15 {
                step(gpu, setup.optimizer);
                steps += 1;
            }
        }
        step(gpu, &mut optimizer);
        assert!(bits(&optimizer) == expected(gpu, control, steps + 1), "a call left a trace");
    }
}

/// Devices with the limits of older APIs are refused by the limit's name.
#[test]
fn downlevel_limits() {
    let check = |limits: wgpu::Limits, control: fn(Builder) -> Builder, words: &[&str]| {
        let gpu = Gpu::new(limits);
        let [p, g] = buffers(&gpu);
        let error = refused(build(&gpu, control, [&p, &g]), words);
        assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    };
    let limits = wgpu::Limits {
        max_dynamic_storage_buffers_per_pipeline_layout: 0,
        ..wgpu::Limits::default()
    };
    let name = "max_dynamic_storage_buffers_per_pipeline_layout";
    check(limits.clone(), CONTROLS[1], &["offers 0", name, "1 is needed", "clipping", "Request"]);
    // Without anything for the GPU to decide on it does.
    let gpu = Gpu::new(limits);
    goes_on(&gpu, CONTROLS[0], built(&gpu, CONTROLS[0]), 1);

    let limits = wgpu::Limits {
        max_dynamic_uniform_buffers_per_pipeline_layout: 1,
        ..wgpu::Limits::default()
    };
    let name = "max_dynamic_uniform_buffers_per_pipeline_layout";
    check(limits, CONTROLS[0], &["offers 1", name, "2 is needed", "coefficients", "Request"]);
    let limits =
        wgpu::Limits { max_uniform_buffers_per_shader_stage: 1, ..wgpu::Limits::default() };
    check(limits, CONTROLS[0], &["max_uniform_buffers_per_shader_stage", "2 is needed"]);
    let limits = wgpu::Limits { max_compute_workgroup_size_x: 0, ..wgpu::Limits::default() };
    check(limits, CONTROLS[0], &["max_compute_workgroup_size_x", "256 is needed", "Request"]);
}
