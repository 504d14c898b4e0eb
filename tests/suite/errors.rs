//! Bad input is refused with words that help, leaves no trace, and a correct step follows.

use crate::common::gpu::Gpu;
use std::borrow::Cow;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{
    ADOPT, ASGD, AdEMAMix, AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, Adan, CpuOptimizer,
    DynRule, Error, LAMB, LARS, LaProp, Lion, MARS, NAdam, NoSums, Number, Optimizer, Param, RAdam,
    RMSprop, Real, Rprop, Rule, SGD, ScheduleFreeAdamW, ScheduleFreeRAdam, ScheduleFreeSGD, Step,
    fields,
};

/// Refused with a message that has all these words.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &[&str]) {
    let message = result.expect_err("it should have been refused").to_string();
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

/// After a refusal the device still takes a correct step.
fn recovers(gpu: &Gpu) {
    let mut optimizer = Optimizer::builder()
        .group(SGD { lr: 0.5, ..Default::default() }, [("w", 3)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    optimizer.set_grad("w", &[1.0, 2.0, 3.0]).expect("set");
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    let found = optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
    assert_eq!(found, [-0.5, -1.0, -1.5]);
}

fn build(gpu: &Gpu, params: impl IntoIterator<Item = Param>) -> Result<Optimizer, Error> {
    Optimizer::builder().group(SGD::default(), params).build(&gpu.device, &gpu.queue)
}

fn buffer(gpu: &Gpu, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

#[test]
fn buffers_that_do_not_fit() {
    let gpu = Gpu::default();
    let good = buffer(gpu, 64, BufferUsages::STORAGE);
    let other = buffer(gpu, 64, BufferUsages::STORAGE);
    let uniform = buffer(gpu, 64, BufferUsages::UNIFORM);
    let w = || Param::new("w", 16);

    refused(build(gpu, [w().buffers(&uniform, &good)]), &["`w`", "STORAGE", "UNIFORM", "usage"]);
    refused(build(gpu, [w().buffers(&good, &uniform)]), &["`w`", "STORAGE"]);
    let long = Param::new("w", 17).buffers(&good, &other);
    refused(build(gpu, [long]), &["`w`", "17 elements", "64 bytes", "larger"]);
    let late = w().buffers(&good, (&other, 4));
    refused(build(gpu, [late]), &["`w`", "gradient buffer", "from byte 4", "64 bytes"]);
    let huge = Param::new("w", usize::MAX / 2).buffers(&good, &other);
    refused(build(gpu, [huge]), &["`w`", "at most"]);
    let misaligned = Param::new("w", 2).buffers((&good, 2), &other);
    refused(build(gpu, [misaligned]), &["`w`", "multiple of 4 bytes", "found 2"]);
    let short = w().buffers(&good, other.slice(..60));
    refused(build(gpu, [short]), &["`w`", "64 bytes for the gradient", "found 60 bytes"]);
    recovers(gpu);
}

#[test]
fn ranges_that_overlap() {
    let gpu = Gpu::default();
    let pool = buffer(gpu, 256, BufferUsages::STORAGE);
    let param = |name: &str, p, g| Param::new(name, 4).buffers((&pool, p), (&pool, g));
    refused(build(gpu, [param("w", 0, 0)]), &["`w`", "disjoint"]);
    refused(build(gpu, [param("w", 0, 12)]), &["`w`", "gradient buffer", "byte 16", "disjoint"]);
    refused(build(gpu, [param("a", 0, 64), param("b", 12, 96)]), &["`b`", "`a`", "disjoint"]);
    refused(build(gpu, [param("a", 0, 64), param("b", 32, 64)]), &["disjoint"]);
    // Disjoint ranges of one buffer work, a parameter and its gradient included.
    let mut optimizer = build(gpu, [param("a", 0, 16), param("b", 32, 48)]).expect("built");
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    recovers(gpu);
}

#[test]
fn buffers_of_another_device_and_destroyed_ones() {
    let gpu = Gpu::default();
    let elsewhere = Gpu::new(wgpu::Limits::default());
    let good = buffer(gpu, 64, BufferUsages::STORAGE);
    let foreign = buffer(&elsewhere, 64, BufferUsages::STORAGE);
    refused(build(gpu, [Param::new("w", 16).buffers(&foreign, &good)]), &["`w`", "of the device"]);
    let destroyed = buffer(gpu, 64, BufferUsages::STORAGE);
    destroyed.destroy();
    refused(build(gpu, [Param::new("w", 16).buffers(&destroyed, &good)]), &["destroyed"]);
    recovers(gpu);
}

#[test]
fn names_groups_states_and_lengths_that_do_not_exist() {
    let gpu = Gpu::default();
    refused(build(gpu, [("w", 1).into(), ("w", 2).into()]), &["`w`", "group 0", "its own name"]);
    let twice = CpuOptimizer::<f32>::builder()
        .group(SGD::default(), [("w", 1)])
        .group(SGD::default(), [("w", 1)])
        .build();
    refused(twice, &["`w`", "group 0", "group 1"]);

    let mut optimizer = build(gpu, [("w", 3).into(), ("b", 1).into()]).expect("built");
    refused(optimizer.set_param("v", &[1.0]), &["`v`", "Known are: w, b"]);
    refused(optimizer.set_grad("w", &[1.0]), &["`w`", "3 values", "1 values"]);
    refused(optimizer.read_state("w", "exp_avg"), &["`w`", "`exp_avg`", "sgd", "[]"]);
    refused(optimizer.set_lr(1, 0.1), &["group 1", "below 1"]);
    refused(optimizer.steps("v"), &["`v`"]);
    refused(optimizer.rule(7).map(|_| ()), &["group 7"]);
    refused(optimizer.set_lr(0, f64::NAN), &["SGD", "`lr`", "NaN"]);
    assert_eq!(optimizer.rule(0).expect("a group").lr(), SGD::default().lr, "nothing changed");
    recovers(gpu);
}

#[test]
fn reading_and_writing_need_the_usages_for_it() {
    let gpu = Gpu::default();
    let [p, g] = [0, 1].map(|_| buffer(gpu, 64, BufferUsages::STORAGE));
    let mut optimizer = build(gpu, [Param::new("w", 16).buffers(&p, &g)]).expect("built");
    refused(optimizer.set_param("w", &[0.0; 16]), &["`w`", "COPY_DST", "created"]);
    refused(optimizer.read_param("w"), &["`w`", "COPY_SRC", "created"]);
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("a step needs neither");
    gpu.submit(encoder);
    recovers(gpu);
}

#[test]
fn hyperparameters_out_of_range() {
    let check = |rule: Box<dyn DynRule>, words: &[&str]| {
        let built = CpuOptimizer::<f32>::builder().group(rule.boxed(), [("w", 1)]).build();
        refused(built, words);
        let gpu = Gpu::default();
        let built = Optimizer::builder().group(rule, [("w", 1)]).build(&gpu.device, &gpu.queue);
        refused(built, words);
    };
    for bad in [f64::NAN, -1e-3, f64::INFINITY] {
        let found = bad.to_string();
        let words = ["`lr`", "at least 0", found.as_str()];
        check(SGD { lr: bad, ..Default::default() }.into(), &words);
        check(Adagrad { lr: bad, ..Default::default() }.into(), &words);
        check(RMSprop { lr: bad, ..Default::default() }.into(), &words);
        check(Adam { lr: bad, ..Default::default() }.into(), &words);
        check(AdamW { lr: bad, ..Default::default() }.into(), &words);
        let words = ["`eps`", "at least 0", found.as_str()];
        check(Adagrad { eps: bad, ..Default::default() }.into(), &words);
        check(RMSprop { eps: bad, ..Default::default() }.into(), &words);
        check(Adam { eps: bad, ..Default::default() }.into(), &words);
        check(AdamW { eps: bad, ..Default::default() }.into(), &words);
        let words = ["`weight_decay`", found.as_str()];
        check(SGD { weight_decay: bad, ..Default::default() }.into(), &words);
        let rule = RMSprop { initial_square_avg: bad, ..Default::default() };
        check(rule.into(), &["RMSprop", "`initial_square_avg`"]);
        check(SGD { momentum: bad, ..Default::default() }.into(), &["SGD", "`momentum`"]);
        check(Adagrad { lr_decay: bad, ..Default::default() }.into(), &["`lr_decay`"]);
        let rule = Adagrad { initial_accumulator_value: bad, ..Default::default() };
        check(rule.into(), &["Adagrad", "`initial_accumulator_value`"]);
    }
    for bad in [f64::NAN, -0.1, 1.0, 2.0] {
        check(Adam { betas: (bad, 0.9), ..Default::default() }.into(), &["`betas.0`", "[0, 1)"]);
        check(AdamW { betas: (0.9, bad), ..Default::default() }.into(), &["`betas.1`", "[0, 1)"]);
        check(RMSprop { alpha: bad, ..Default::default() }.into(), &["`alpha`", "[0, 1)"]);
    }
    for bad in [f64::NAN, -1.0, f64::INFINITY] {
        check(Adadelta { eps: bad, ..Default::default() }.into(), &["Adadelta", "`eps`"]);
        check(Adamax { lr: bad, ..Default::default() }.into(), &["Adamax", "`lr`"]);
        check(Lion { weight_decay: bad, ..Default::default() }.into(), &["Lion", "`weight_decay`"]);
        check(NAdam { momentum_decay: bad, ..Default::default() }.into(), &["`momentum_decay`"]);
        check(RAdam { eps: bad, ..Default::default() }.into(), &["RAdam", "`eps`"]);
        check(AdaBelief { eps_root: bad, ..Default::default() }.into(), &["`eps_root`"]);
        check(Rprop { etas: (0.5, bad), ..Default::default() }.into(), &["Rprop", "`etas`"]);
        check(Rprop { step_sizes: (bad, 1.0), ..Default::default() }.into(), &["`step_sizes`"]);
        check(LAMB { weight_decay: bad, ..Default::default() }.into(), &["LAMB", "`weight_decay`"]);
        check(
            LARS { trust_coefficient: bad, ..Default::default() }.into(),
            &["`trust_coefficient`"],
        );
        check(Adadelta { rho: bad, ..Default::default() }.into(), &["`rho`", "[0, 1)"]);
        check(Adamax { betas: (bad, 0.9), ..Default::default() }.into(), &["`betas.0`"]);
        check(Lion { betas: (0.9, bad), ..Default::default() }.into(), &["`betas.1`"]);
    }
    for alpha in [f64::NAN, -0.1, 16.5] {
        check(ASGD { alpha, ..Default::default() }.into(), &["ASGD", "`alpha`", "from 0 to 16"]);
    }
    for momentum in [0.0, 1.0, f64::NAN] {
        let rule = ScheduleFreeSGD { momentum, ..Default::default() };
        check(rule.into(), &["ScheduleFreeSGD", "`momentum`"]);
        let rule = ScheduleFreeAdamW { betas: (momentum, 0.9), ..Default::default() };
        check(rule.into(), &["ScheduleFreeAdamW", "`betas.0`"]);
        let rule = ScheduleFreeRAdam { betas: (momentum, 0.9), ..Default::default() };
        check(rule.into(), &["ScheduleFreeRAdam", "`betas.0`"]);
    }
    for power in [f64::NAN, -0.1, 16.5] {
        let rule = ScheduleFreeSGD { r: power, ..Default::default() };
        check(rule.into(), &["`r`", "from 0 to 16"]);
        let rule = ScheduleFreeSGD { weight_lr_power: power, ..Default::default() };
        check(rule.into(), &["`weight_lr_power`", "from 0 to 16"]);
    }
    let huge = ScheduleFreeSGD { lr: 1e30, weight_lr_power: 12.0, ..Default::default() };
    check(huge.into(), &["`weight_lr_power`", "the sum of the weights", "finite"]);
    // Its variance is never bounded, so that it would stay silent for good.
    let silent = ScheduleFreeRAdam { betas: (0.9, 0.5), ..Default::default() };
    check(silent.into(), &["`betas.1`", "above 0.6", "`silent_sgd_phase`"]);
    let nesterov = SGD { nesterov: true, ..Default::default() };
    check(nesterov.into(), &["`nesterov`", "momentum above 0", "momentum 0"]);
    let damped = SGD { dampening: 0.1, momentum: 0.9, ..nesterov };
    check(damped.into(), &["`nesterov`", "dampening 0.1"]);
    check(SGD { dampening: f64::NAN, ..Default::default() }.into(), &["`dampening`", "finite"]);
    recovers(Gpu::default());
}

/// Numbers that f64 holds and f32 does not.
#[test]
fn hyperparameters_that_f32_cannot_hold() {
    fn check(rule: impl Into<Box<dyn DynRule>>, words: &[&str]) {
        let rule = rule.into();
        let gpu = Gpu::default();
        let built = CpuOptimizer::<f32>::builder().group(rule.boxed(), [("w", 1)]).build();
        refused(built, words);
        let built = CpuOptimizer::<f64>::builder().group(rule.boxed(), [("w", 1)]).build();
        refused(built, words);
        let built = Optimizer::builder().group(rule, [("w", 1)]).build(&gpu.device, &gpu.queue);
        refused(built, words);
    }
    /// Every field of every rule that must not vanish, and every one that must not overflow.
    macro_rules! fields {
        ($value:expr, $words:expr; $($rule:ident: $($field:ident),+;)+) => {
            $($(check(
                $rule { $field: $value, ..Default::default() },
                &[[concat!("`", stringify!($field), "`")].as_slice(), $words].concat(),
            );)+)+
        };
    }
    for (tiny, found) in [(1e-46, "1e-46, of which f32 makes 0e0"), (1e-40, "1e-40, of which")] {
        fields! { tiny, &[found, "or 0 if that is meant"];
            ScheduleFreeAdamW: eps; ScheduleFreeRAdam: eps; MARS: eps; AdEMAMix: eps; LaProp: eps; Adan: eps; ADOPT: eps; AdaBelief: eps, eps_root; Adadelta: eps; Adagrad: eps, initial_accumulator_value;
            Adam: eps; AdamW: eps; Adamax: eps; LAMB: eps; LARS: trust_coefficient; NAdam: eps;
            RAdam: eps; RMSprop: eps, initial_square_avg;
        }
        let rule = Rprop { step_sizes: (tiny, 1.0), ..Default::default() };
        check(rule, &["`step_sizes.0`", found]);
    }
    fields! { 1e39, &["1e39, of which f32 makes inf", "a smaller number"];
        ScheduleFreeAdamW: lr, eps, weight_decay, warmup_steps;
        ScheduleFreeRAdam: lr, eps, weight_decay; ScheduleFreeSGD: lr, weight_decay, warmup_steps; MARS: lr, gamma, eps, weight_decay; ASGD: lr, lambd, t0, weight_decay; AdEMAMix: lr, alpha, beta3_warmup, alpha_warmup, eps, weight_decay; LaProp: lr, eps, weight_decay; Adan: lr, eps, weight_decay; ADOPT: lr, eps, weight_decay; AdaBelief: lr, eps, eps_root, weight_decay; Adadelta: lr, eps, weight_decay;
        Adagrad: lr, lr_decay, eps, initial_accumulator_value, weight_decay;
        Adam: lr, eps, weight_decay; AdamW: lr, eps, weight_decay; Adamax: lr, eps, weight_decay;
        LAMB: lr, eps, weight_decay; LARS: lr, momentum, trust_coefficient, weight_decay;
        Lion: lr, weight_decay; NAdam: lr, eps, momentum_decay, weight_decay;
        RAdam: lr, eps, weight_decay; RMSprop: lr, eps, momentum, initial_square_avg, weight_decay;
        Rprop: lr; SGD: lr, momentum, dampening, weight_decay;
    }
    let one = 1.0 - 1e-9;
    fields! { one, &["below 1 as an f32", "0.999999999, of which f32 makes 1"];
        RMSprop: alpha; Adadelta: rho;
    }
    for (betas, name) in [((one, 0.9), "`betas.0`"), ((0.9, one), "`betas.1`")] {
        fields_of_betas(betas, |rule| check(rule, &[name, "below 1 as an f32"]));
    }
    let betas = [((one, 0.9, 0.9), "`betas.0`"), ((0.9, one, 0.9), "`betas.1`")];
    for (betas, name) in betas.into_iter().chain([((0.9, 0.9, one), "`betas.2`")]) {
        check(Adan { betas, ..Default::default() }, &[name, "below 1 as an f32"]);
        check(AdEMAMix { betas, ..Default::default() }, &[name, "below 1 as an f32"]);
    }
    for betas in [(0.9, one), (one, 0.9)] {
        check(ScheduleFreeAdamW { betas, ..Default::default() }, &["below 1 as an f32"]);
        check(ScheduleFreeRAdam { betas, ..Default::default() }, &["below 1 as an f32"]);
    }
    for etas in [(1e-46, 1.2), (one, 1.2), (0.5, 1.0 + 1e-9), (0.5, 1e39)] {
        check(Rprop { etas, ..Default::default() }, &["`etas`", "as f32 too"]);
    }
    check(Rprop { step_sizes: (1e-6, 1e39), ..Default::default() }, &["`step_sizes.1`", "inf"]);
    // Each fits, but not what is made of them.
    let huge = Adam { lr: 3e38, ..Default::default() };
    check(huge, &["`step_size`", "at the first step", "`lr` first"]);
    recovers(Gpu::default());
}

/// Every rule that has betas, with these.
fn fields_of_betas(betas: (f64, f64), check: impl Fn(Box<dyn DynRule>)) {
    check(ADOPT { betas, ..Default::default() }.into());
    check(LaProp { betas, ..Default::default() }.into());
    check(MARS { betas, ..Default::default() }.into());
    check(AdaBelief { betas, ..Default::default() }.into());
    check(Adam { betas, ..Default::default() }.into());
    check(AdamW { betas, ..Default::default() }.into());
    check(Adamax { betas, ..Default::default() }.into());
    check(LAMB { betas, ..Default::default() }.into());
    check(Lion { betas, ..Default::default() }.into());
    check(NAdam { betas, ..Default::default() }.into());
    check(RAdam { betas, ..Default::default() }.into());
}

/// What vanishes at the end of a schedule, and an eps of 0 that is meant.
#[test]
fn numbers_that_may_vanish() {
    let rules: [Box<dyn DynRule>; 4] = [
        Adam { lr: 1e-46, eps: 0.0, weight_decay: 1e-46, ..Default::default() }.into(),
        SGD { lr: 1e-46, momentum: 1e-46, weight_decay: 1e-46, ..Default::default() }.into(),
        AdaBelief { eps: 0.0, eps_root: 0.0, ..Default::default() }.into(),
        Rprop { step_sizes: (0.0, 1.0), ..Default::default() }.into(),
    ];
    for rule in rules {
        CpuOptimizer::<f32>::builder().group(rule, [("w", 1)]).build().expect("built");
    }
}

#[test]
fn clip_limits_that_f32_cannot_hold() {
    let gpu = Gpu::default();
    for limit in [1e-46, 1e-40, 1e39] {
        let builder = || Optimizer::builder().group(SGD::default(), [("w", 1)]);
        let value = builder().clip_grad_value(limit).build(&gpu.device, &gpu.queue);
        refused(value, &["`clip_grad_value`", "that f32 holds"]);
        let norm = builder().clip_grad_norm(limit).build(&gpu.device, &gpu.queue);
        refused(norm, &["`clip_grad_norm`", "that f32 holds"]);
    }
    recovers(gpu);
}

#[test]
fn rules_and_options_cannot_change_after_build() {
    let gpu = Gpu::default();
    let mut optimizer = build(gpu, [("w", 1).into()]).expect("built");
    refused(
        optimizer.set_rule(0, Adam::default()),
        &["group 0", "sgd", "adam", "another optimizer"],
    );
    let momentum = SGD { momentum: 0.9, ..Default::default() };
    refused(optimizer.set_rule(0, momentum), &["has_momentum", "numbers only"]);
    refused(optimizer.set_rule(0, SGD { lr: -1.0, ..Default::default() }), &["`lr`", "-1"]);
    optimizer.set_rule(0, SGD { lr: 1.0, ..Default::default() }).expect("numbers may change");
    recovers(gpu);
}

#[test]
fn a_device_with_too_few_storage_buffers() {
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..Default::default() };
    let gpu = Gpu::new(limits);
    let words = ["max_storage_buffers_per_shader_stage", "offers 4", "5 is needed", "larger limit"];
    let adam = Optimizer::builder().group(Adam::default(), [("w", 1)]);
    refused(adam.build(&gpu.device, &gpu.queue), &words);
    let decided = Optimizer::builder().group(SGD::default(), [("w", 1)]).clip_grad_norm(1.0);
    refused(decided.build(&gpu.device, &gpu.queue), &["offers 4", "6 is needed", "the decision"]);
    recovers(&gpu);
}

#[test]
fn more_elements_than_any_device_holds() {
    let gpu = Gpu::default();
    refused(build(gpu, [("w", 1 << 50).into()]), &["`w`", "at most", "Correct the shape"]);
    recovers(gpu);
}

#[test]
fn a_lost_device_gives_errors_and_nothing_hangs() {
    let gpu = Gpu::new(wgpu::Limits::default());
    let mut optimizer = build(&gpu, [("w", 100).into()]).expect("built");
    let pending = optimizer.read_param("w").expect("started");
    gpu.device.destroy();
    // The copy was submitted before the device was lost: either it made it, or it says why not.
    if let Err(error) = pending.wait() {
        assert!(error.to_string().contains("reading values back"), "{error}");
    }
    refused(optimizer.read_param("w").and_then(|r| r.wait()), &["reading values back", "lost"]);
    // Recording goes nowhere, but does not panic.
    let mut encoder = gpu.encoder();
    let _ = optimizer.step(&mut encoder);
    refused(build(&gpu, [("w", 100).into()]), &["lost"]);
    recovers(&Gpu::new(wgpu::Limits::default()));
}

fields! {
    struct MyCoeffs { lr, gain }
}
fields! {
    struct MyState { last }
}

/// A rule whose WGSL is given by its number, with or without an option.
#[derive(Debug, Clone)]
struct Mine<const TEXT: usize, const OPTION: bool = false>;

const TEXTS: [&str; 14] = [
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
         (*s).last = g; return p - c.lr * c.gain * g;
     }",
    "struct Coeffs { gain: f32, lr: f32 } struct State { last: Real }",
    "struct Coeffs { lr: f32, gain: f32 } struct State { last: f32 }",
    "struct Coeffs { lr: f32, gain: f32 }",
    // An unknown field, a missing semicolon, an unknown name: each on a line of its own.
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real { return p - c.rate * g; }",
    "struct Coeffs { lr: f32, gain: f32 } struct State { last: Real }",
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
         let step = c.lr * c.gain * g
         return p - step;
     }",
    "// A comment.
     struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }

     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
         return p - /* é */ rate * g;
     }",
    // `update` with too few parameters, and one that returns something else than it says.
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real) -> Real { return p - c.lr * g; }",
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
         return c.lr;
     }",
    // An option, one with a number that hides its name, and a name of the kernel's.
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     override fast: bool;
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
         return select(p, p - c.lr * g, fast);
     }",
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     @id(7) override fast: bool;
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
         return select(p, p - c.lr * g, fast);
     }",
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real { return finished(p); }
     fn finished(p: Real) -> Real { return p; }",
    // A brace left open.
    "struct Coeffs { lr: f32, gain: f32 }
     struct State { last: Real }
     fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real { return p;",
];

impl<const TEXT: usize, const OPTION: bool> Rule for Mine<TEXT, OPTION> {
    const NAME: &'static str = "mine";
    const WGSL: &'static str = TEXTS[TEXT];
    type Coeffs<T: Copy> = MyCoeffs<T>;
    type State<T: Copy> = MyState<T>;
    type Sums<T: Copy> = NoSums;
    fn lr(&self) -> f64 {
        1.0
    }
    fn set_lr(&mut self, _: f64) {}
    fn options(&self) -> Vec<(&'static str, bool)> {
        if OPTION { vec![("fast", true)] } else { Vec::new() }
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> MyCoeffs<N> {
        MyCoeffs { lr: 0.5.into(), gain: 2.0.into() }
    }
    fn update<T: Real>(&self, c: &MyCoeffs<T>, p: T, g: T, s: &mut MyState<T>) -> T {
        s.last = g;
        p - c.lr * c.gain * g
    }
}

fn build_mine<const TEXT: usize, const OPTION: bool>() -> Result<Optimizer, Error> {
    let gpu = Gpu::default();
    let rule = Mine::<TEXT, OPTION>;
    Optimizer::builder().group(rule, [("w", 4)]).build(&gpu.device, &gpu.queue)
}

#[test]
fn a_users_rule_with_a_mistake_in_its_wgsl() {
    build_mine::<0, false>().expect("a correct rule of one's own");
    let lists = ["`mine`", "WGSL: gain: f32, lr: f32", "Rust: lr: f32, gain: f32"];
    refused(build_mine::<1, false>(), &lists);
    refused(build_mine::<2, false>(), &["`mine`", "struct State", "last: f32", "last: Real"]);
    refused(build_mine::<3, false>(), &["no `struct State`", "struct State { last: Real }"]);

    // What the kernel expects is part of every message about the text.
    let expected = [
        "`mine`",
        "struct Coeffs { lr: f32, gain: f32 }",
        "struct State { last: Real }",
        "fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real",
        "override NAME: bool;",
        "kernel's: Real, BLOCK, ",
        ", finished",
    ];
    let refused_mine = |result: Result<Optimizer, Error>, words: &[&str]| {
        refused(result, &[&expected, words].concat());
    };
    refused_mine(
        build_mine::<4, false>(),
        &["`rate`", "line 3, column 93", "3 |      fn update(", "  ^^^^"],
    );
    refused_mine(build_mine::<6, false>(), &["line 5, column 10", "5 |          return p", "`;`"]);
    refused_mine(build_mine::<7, false>(), &["`rate`", "line 6, column 29", "^^^^ unknown"]);
    refused_mine(
        build_mine::<9, false>(),
        &["line 4, column 17", "4 |          return c.lr;", "^^^^"],
    );
    // The kernel's call is where these come to light.
    refused_mine(build_mine::<5, false>(), &["no `fn update`", "update(coeffs, old, g, &state)"]);
    refused_mine(
        build_mine::<8, false>(),
        &["`fn update(c: Coeffs, p: Real, g: Real) -> Real`, on line 3"],
    );
    refused_mine(build_mine::<13, false>(), &["opens 3 braces and closes 2"]);
    refused_mine(
        build_mine::<12, false>(),
        &["`finished`", "line 4, column 9", "4 |      fn finished(p", "another name"],
    );
    recovers(Gpu::default());
}

#[test]
fn options_and_overrides_that_do_not_match() {
    build_mine::<10, true>().expect("an option with its override");
    refused(build_mine::<0, true>(), &["`mine`", "no `override fast: bool;`"]);
    let unknown = ["`mine`", "`override fast`", "line 3, column 15", "`const`"];
    refused(build_mine::<10, false>(), &unknown);
    // Found where the pipeline is created: the constant's name is hidden by its number.
    refused(build_mine::<11, true>(), &["`mine`", "'fast' not found", "override fast: bool;"]);
    recovers(Gpu::default());
}

/// Messages are whole sentences that name what was expected and found.
#[test]
fn a_message_reads_well() {
    let error = CpuOptimizer::<f32>::builder()
        .group(Adam { betas: (0.9, 1.0), ..Default::default() }, [("w", 1)])
        .build()
        .expect_err("refused");
    let expected: Cow<'_, str> =
        "Adam: `betas.1` must be in [0, 1), but is 1. Give the share of the old \
                                  average that a step keeps, such as 0.9"
            .into();
    assert_eq!(error.to_string(), expected);
}
