//! Between steps parameters are added, moved, frozen and thawed; the states and step counts of the
//! others stay.

use crate::common::gpu::Gpu;
use crate::common::model::steps_taken;
use crate::common::random::Random;
use wgpu_optim::{
    Adam, AdamW, Builder, CpuOptimizer, DynRule, GradScaler, LAMB, NAdam, Optimizer, Param, Place,
    Rprop, Slice, wgpu,
};

fn plain(builder: Builder) -> Builder {
    builder
}

/// The GPU counts steps.
fn counted(builder: Builder) -> Builder {
    builder.grad_scaler(GradScaler::constant(1.0))
}

fn built(gpu: &Gpu, builder: Builder) -> Optimizer {
    builder.build(&gpu.device, &gpu.queue).expect("built")
}

fn step(gpu: &Gpu, optimizer: &mut Optimizer) {
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
}

/// The bits of a parameter and its states.
fn bits(optimizer: &Optimizer, name: &str, states: &[&str]) -> Vec<Vec<u32>> {
    let arrays = [optimizer.read_param(name)]
        .into_iter()
        .chain(states.iter().map(|state| optimizer.read_state(name, state)));
    let bits = |array: Vec<f32>| array.iter().map(|x| x.to_bits()).collect();
    arrays.map(|read| bits(read.and_then(|r| r.wait()).expect("read"))).collect()
}

const LEN: usize = 300;

/// A parameter's value before the first step, and its gradient in a step.
fn numbers(name: &str, step: usize) -> Vec<f32> {
    let seed = name.bytes().map(u64::from).sum::<u64>() + 1000 * step as u64;
    Random::new(seed).wide_vec(LEN, -2.0, 2.0)
}

/// Each of some parameters takes part in some of eight steps: all together in one optimizer, that
/// freezes the others, or each in an optimizer of its own, which takes only its steps. Nothing
/// tells them apart.
#[test]
fn a_frozen_parameter_waits_with_its_states_and_its_count() {
    let gpu = Gpu::default();
    let names = ["a", "b", "c", "d"];
    let takes_part = |name: &str, step: usize| match name {
        "a" => true,
        "b" => step.is_multiple_of(2),
        "c" => step >= 3,
        _ => step < 2 || step == 6,
    };
    let rules: [Box<dyn DynRule>; 2] =
        [NAdam { weight_decay: 0.1, ..Default::default() }.into(), AdamW::default().into()];
    for rule in rules {
        for (control, counts) in [(plain as fn(_) -> _, false), (counted, true)] {
            let together = Optimizer::builder().group(rule.boxed(), names.map(|n| (n, LEN)));
            let mut together = built(gpu, control(together));
            let alone = |name| {
                let builder = Optimizer::builder().group(rule.boxed(), [(name, LEN)]);
                built(gpu, control(builder))
            };
            let mut alone = names.map(alone);
            let mut twin = CpuOptimizer::<f32>::builder()
                .group(rule.boxed(), names.map(|n| (n, LEN)))
                .build()
                .expect("built");
            for (name, alone) in names.iter().zip(&mut alone) {
                together.set_param(name, &numbers(name, 99)).expect("set");
                alone.set_param(name, &numbers(name, 99)).expect("set");
            }
            for now in 0..8 {
                let (active, frozen): (Vec<_>, Vec<_>) =
                    names.into_iter().partition(|name| takes_part(name, now));
                together.set_frozen(frozen.iter().copied(), true).expect("known");
                together.set_frozen(active.iter().copied(), false).expect("known");
                twin.set_frozen(frozen.iter().copied(), true).expect("known");
                twin.set_frozen(active.iter().copied(), false).expect("known");
                for (name, alone) in names.iter().zip(&mut alone) {
                    assert_eq!(together.is_frozen(name).expect("known"), !takes_part(name, now));
                    together.set_grad(name, &numbers(name, now)).expect("set");
                    if takes_part(name, now) {
                        alone.set_grad(name, &numbers(name, now)).expect("set");
                        step(gpu, alone);
                    }
                }
                step(gpu, &mut together);
                twin.step().expect("stepped");
                for (name, alone) in names.iter().zip(&alone) {
                    let states = ["exp_avg", "exp_avg_sq"];
                    let same = bits(&together, name, &states) == bits(alone, name, &states);
                    assert!(same, "{} `{name}` in step {now}", rule.name());
                    let steps = |optimizer: &Optimizer| steps_taken(optimizer, name);
                    assert_eq!(steps(&together), steps(alone));
                    assert_eq!(steps(&together), twin.steps(name).expect("known"));
                }
            }
            if counts {
                let found = together.read_statistics().and_then(|r| r.wait()).expect("read");
                for (name, found) in names.iter().zip(&found.parameters) {
                    let steps = (0..8).filter(|now| takes_part(name, *now)).count();
                    assert_eq!((&*found.name, found.steps as usize), (*name, steps));
                }
            }
        }
    }
}

/// A skipped step moves no count, whichever parameters take part in it.
#[test]
fn frozen_and_skipped_steps_mix() {
    let gpu = Gpu::default();
    let build = || {
        let builder = Optimizer::builder().group(Adam::default(), [("a", LEN), ("b", LEN)]);
        built(gpu, counted(builder))
    };
    // In the other optimizer no step is bad.
    let [mut mixed, mut clean] = [build(), build()];
    for now in 0..9 {
        let (bad, b_frozen) = (now % 3 == 1, now % 4 > 1);
        let mut encoder = gpu.encoder();
        for optimizer in [&mut mixed, &mut clean] {
            optimizer.set_frozen(["b"], b_frozen).expect("known");
            for name in ["a", "b"] {
                optimizer.set_grad(name, &numbers(name, now)).expect("set");
            }
        }
        if bad {
            // The frozen one's does not count.
            let name = if b_frozen { "a" } else { "b" };
            let mut grad = numbers(name, now);
            grad[17] = f32::NAN;
            mixed.set_grad(name, &grad).expect("set");
        }
        if b_frozen {
            mixed.set_grad("b", &[f32::NAN; LEN]).expect("set");
        }
        mixed.step(&mut encoder).expect("recorded");
        if !bad {
            clean.step(&mut encoder).expect("recorded");
        }
        gpu.submit(encoder);
        for name in ["a", "b"] {
            let states = ["exp_avg", "exp_avg_sq"];
            assert!(bits(&mixed, name, &states) == bits(&clean, name, &states), "{name} {now}");
        }
    }
}

/// Groups that are added later start at their first step, and leave the others alone; rules with
/// other kernels and other initial states too.
#[test]
fn groups_are_added_between_steps() {
    let gpu = Gpu::default();
    for control in [plain, counted] {
        let alone = |rule: Box<dyn DynRule>, name| {
            built(gpu, control(Optimizer::builder().group(rule, [(name, LEN)])))
        };
        let adam = || Box::<dyn DynRule>::from(Adam::default());
        let rprop = || Box::<dyn DynRule>::from(Rprop::default());
        let [mut a, mut b, mut c] = [alone(adam(), "a"), alone(adam(), "b"), alone(rprop(), "c")];
        let mut all = alone(adam(), "a");
        for now in 0..6 {
            if now == 2 {
                assert_eq!(all.add_group(Adam::default(), [("b", LEN)]).expect("added"), 1);
            }
            if now == 4 {
                let refused = all.add_group(Rprop::default(), [("c", LEN), ("a", 1)]);
                assert!(refused.expect_err("a name twice").to_string().contains("`a`"));
                assert_eq!(all.groups(), 2);
                assert_eq!(all.add_group(Rprop::default(), [("c", LEN)]).expect("added"), 2);
            }
            let members: [(&str, &mut Optimizer, usize); 3] =
                [("a", &mut a, 0), ("b", &mut b, 2), ("c", &mut c, 4)];
            for (name, own, first) in members {
                if now >= first {
                    all.set_grad(name, &numbers(name, now)).expect("set");
                    own.set_grad(name, &numbers(name, now)).expect("set");
                    step(gpu, own);
                }
            }
            step(gpu, &mut all);
        }
        for (name, own, states) in [
            ("a", &a, ["exp_avg", "exp_avg_sq"]),
            ("b", &b, ["exp_avg", "exp_avg_sq"]),
            ("c", &c, ["prev", "step_size"]),
        ] {
            assert!(bits(&all, name, &states) == bits(own, name, &states), "{name}");
        }
    }
}

/// More counts than there was room for: one for each of many parameters, frozen in turns.
#[test]
fn counts_outgrow_their_buffer() {
    let gpu = Gpu::default();
    let names: Vec<_> = (0..150).map(|i| i.to_string()).collect();
    let builder =
        Optimizer::builder().group(Adam::default(), names.iter().map(|name| (name.as_str(), 4)));
    let mut optimizer = built(gpu, counted(builder));
    for (now, name) in names.iter().enumerate() {
        if now > 0 {
            optimizer.set_frozen([names[now - 1].as_str()], false).expect("known");
        }
        optimizer.set_frozen([name.as_str()], true).expect("known");
        let mut encoder = gpu.encoder();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        optimizer.step_in_pass(&mut pass).expect("recorded");
        drop(pass);
        gpu.submit(encoder);
    }
    let found = optimizer.read_statistics().and_then(|r| r.wait()).expect("read");
    assert_eq!(found.steps, 150);
    assert!(found.parameters.iter().all(|parameter| parameter.steps == 149));
}

/// An engine whose gradients are elsewhere in each step, as those of pools are.
#[test]
fn parameters_and_gradients_move_between_steps() {
    let gpu = Gpu::default();
    for control in [plain, counted] {
        let mut still = built(
            gpu,
            control(Optimizer::builder().group(Adam::default(), [("a", LEN), ("b", LEN)])),
        );
        let pool = |values: &[f32]| gpu.buffer(values);
        let mut pools = [pool(&vec![0.5; 4 * LEN]), pool(&vec![0.5; 4 * LEN])];
        // Where the elements of a parameter and of its gradient start.
        let at = |now: usize| [("a", [now, LEN + now]), ("b", [LEN + now, 2 * LEN + now])];
        let slices = |pools: &[wgpu::Buffer; 2], at: [usize; 2]| {
            [0, 1].map(|k| Slice::from((&pools[k], 4 * at[k] as u64)))
        };
        let places = |pools: &[wgpu::Buffer; 2], now: usize| {
            at(now).map(|(name, at)| {
                let [p, g] = slices(pools, at);
                (name, Place::new(p, g))
            })
        };
        let params = at(0).map(|(name, at)| {
            let [p, g] = slices(&pools, at);
            Param::new(name, LEN).buffers(p, g)
        });
        let mut moving = built(gpu, control(Optimizer::builder().group(Adam::default(), params)));
        for now in 0..5 {
            for name in ["a", "b"] {
                if now == 0 {
                    still.set_param(name, &numbers(name, 99)).expect("set");
                    moving.set_param(name, &numbers(name, 99)).expect("set");
                } else {
                    let values = moving.read_param(name).and_then(|r| r.wait()).expect("read");
                    // Parameters move to the other pool, by their values.
                    let at = if name == "a" { now } else { LEN + now };
                    gpu.queue.write_buffer(&pools[1], 4 * at as u64, bytemuck::cast_slice(&values));
                }
            }
            if now > 0 {
                pools.reverse();
                moving.set_buffers(places(&pools, now)).expect("moved");
            }
            for name in ["a", "b"] {
                for optimizer in [&mut still, &mut moving] {
                    optimizer.set_grad(name, &numbers(name, now)).expect("set");
                }
            }
            step(gpu, &mut still);
            step(gpu, &mut moving);
            for name in ["a", "b"] {
                let states = ["exp_avg", "exp_avg_sq"];
                assert!(
                    bits(&still, name, &states) == bits(&moving, name, &states),
                    "{name} {now}"
                );
            }
        }
        refuse_places(&mut moving, &pools);
        let [_, b] = places(&pools, 4);
        moving.set_buffers([b]).expect("`a` is where it was before it was refused");
        step(gpu, &mut moving);
        let refused = still.set_buffers(places(&pools, 4)).expect_err("in the arena").to_string();
        assert!(refused.contains("in buffers of yours"), "{refused}");
    }
}

/// Places of `a` that do not fit are refused, and nothing has moved then.
fn refuse_places(moving: &mut Optimizer, pools: &[wgpu::Buffer; 2]) {
    let bytes = 4 * LEN as u64;
    let [p, g] = pools;
    let short = p.slice(..bytes - 4);
    for (place, words) in [
        (Place::new((p, bytes), g), "disjoint"),
        (Place::new(short, g), "a slice of at least 1200 bytes for the parameter"),
        (Place::new(p, short), "a slice of at least 1200 bytes for the gradient"),
        (Place::new((p, 2), g), "multiple of 4 bytes"),
        (Place::new(p, (g, p.size() - bytes + 4)), "gradient buffer"),
    ] {
        let refused = moving.set_buffers([("a", place)]).expect_err(words).to_string();
        assert!(refused.contains("`a`") && refused.contains(words), "{refused}");
    }
    let unknown = moving.set_buffers([("c", Place::new(p, g))]).expect_err("unknown").to_string();
    assert!(unknown.contains("`c`"), "{unknown}");
}

/// A step with nothing to do does nothing, whatever is asked for around it.
#[test]
fn everything_may_be_frozen() {
    let gpu = Gpu::default();
    for control in [plain, counted, |builder: Builder| counted(builder).statistics()] {
        let rules: [Box<dyn DynRule>; 2] = [LAMB::default().into(), Adam::default().into()];
        for rule in rules {
            let states = ["exp_avg", "exp_avg_sq"];
            let mut optimizer = built(gpu, control(Optimizer::builder().group(rule, [("a", LEN)])));
            optimizer.set_param("a", &numbers("a", 0)).expect("set");
            optimizer.set_grad("a", &numbers("a", 1)).expect("set");
            step(gpu, &mut optimizer);
            let before = bits(&optimizer, "a", &states);
            optimizer.set_frozen(["a"], true).expect("frozen");
            step(gpu, &mut optimizer);
            assert!(bits(&optimizer, "a", &states) == before);
            optimizer.set_frozen(["a"], false).expect("thawed");
            step(gpu, &mut optimizer);
            assert!(bits(&optimizer, "a", &states) != before);
        }
    }
}

/// Nothing is what a step without parameters measures, whatever the one before it found.
#[test]
fn a_step_with_nothing_to_do_is_not_a_bad_one() {
    let gpu = Gpu::default();
    let mut optimizer =
        built(gpu, counted(Optimizer::builder().group(Adam::default(), [("a", 3)])));
    optimizer.set_grad("a", &[f32::NAN; 3]).expect("set");
    step(gpu, &mut optimizer);
    optimizer.set_frozen(["a"], true).expect("frozen");
    step(gpu, &mut optimizer);
    let found = optimizer.read_statistics().and_then(|r| r.wait()).expect("read");
    assert_eq!((found.skipped, found.skipped_in_row, found.grad_norm), (1, 0, 0.0));
}

/// A pool may give a parameter's memory to another one while steps leave it alone.
#[test]
fn a_parameter_without_buffers_waits_while_others_use_its_memory() {
    let gpu = Gpu::default();
    for control in [plain, counted] {
        let pool = gpu.buffer(&[0.5; 4 * LEN]);
        let slices = |at: [usize; 2]| at.map(|at| (&pool, 4 * (LEN * at) as u64));
        let place = |name: &'static str, at: [usize; 2]| {
            let [param, grad] = slices(at);
            (name, Place::new(param, grad))
        };
        let params = [("a", [0, 1]), ("b", [2, 3])].map(|(name, at)| {
            let [param, grad] = slices(at);
            Param::new(name, LEN).buffers(param, grad)
        });
        let mut pooled = built(gpu, control(Optimizer::builder().group(Adam::default(), params)));
        let params = [("a", LEN), ("b", LEN)];
        let mut still = built(gpu, control(Optimizer::builder().group(Adam::default(), params)));
        let set = |optimizer: &mut Optimizer, name: &str, now: usize| {
            optimizer.set_grad(name, &numbers(name, now)).expect("set");
        };
        for optimizer in [&mut still, &mut pooled] {
            for name in ["a", "b"] {
                optimizer.set_param(name, &numbers(name, 99)).expect("set");
                set(optimizer, name, 0);
            }
        }
        step(gpu, &mut still);
        step(gpu, &mut pooled);

        // `b` moves to where `a` was, whose values the test keeps.
        let kept = pooled.read_param("a").and_then(|r| r.wait()).expect("read");
        let moved = pooled.read_param("b").and_then(|r| r.wait()).expect("read");
        pooled.set_buffers([place("b", [0, 1])]).expect_err("`a` is there");
        pooled.remove_buffers(["a"]).expect("removed");
        pooled.set_buffers([place("b", [0, 1])]).expect("moved");
        pooled.set_param("b", &moved).expect("set");
        still.set_frozen(["a"], true).expect("frozen");
        for now in 1..4 {
            for optimizer in [&mut still, &mut pooled] {
                set(optimizer, "b", now);
            }
            step(gpu, &mut still);
            step(gpu, &mut pooled);
        }
        for refused in [
            pooled.set_frozen(["a"], false).expect_err("it is nowhere"),
            pooled.set_param("a", &kept).expect_err("it is nowhere"),
            pooled.read_grad("a").map(|_| ()).expect_err("it is nowhere"),
        ] {
            assert!(refused.to_string().contains("set_buffers"), "{refused}");
        }
        assert_eq!(
            pooled.read_state("a", "exp_avg").and_then(|r| r.wait()).expect("read").len(),
            LEN
        );
        let mut encoder = gpu.encoder();
        pooled.zero_grad(&mut encoder).expect("recorded");
        gpu.submit(encoder);

        pooled.set_buffers([place("a", [2, 3])]).expect("moved");
        pooled.set_param("a", &kept).expect("set");
        for optimizer in [&mut still, &mut pooled] {
            optimizer.set_frozen(["a"], false).expect("thawed");
            set(optimizer, "a", 9);
            set(optimizer, "b", 9);
            step(gpu, optimizer);
        }
        for name in ["a", "b"] {
            let states = ["exp_avg", "exp_avg_sq"];
            assert!(bits(&still, name, &states) == bits(&pooled, name, &states), "{name}");
        }
        let refused = still.remove_buffers(["b"]).expect_err("it is in the arena");
        assert!(refused.to_string().contains("in buffers of yours"), "{refused}");
    }
}

/// Patterns sort parameters into groups; multipliers scale what all groups are set to.
#[test]
fn names_choose_groups_and_multipliers_scale_rates() {
    let gpu = Gpu::default();
    let decayed = AdamW { weight_decay: 0.1, ..Default::default() };
    let kept = AdamW { weight_decay: 0.0, ..decayed };
    let params = [("block.weight", 2), ("block.bias", 2), ("norm.weight", 2)];
    let builder = Optimizer::builder()
        .groups_by_name([("*.bias", kept), ("*norm*", kept), ("*", decayed)], params)
        .group(decayed, [("head", 2)])
        .lr_multiplier(0.5);
    let mut optimizer = built(gpu, builder);
    optimizer.set_base_lr(0.25).expect("in range");
    let lrs = (0..4).map(|group| optimizer.rule(group).expect("a group").lr()).collect::<Vec<_>>();
    assert_eq!(lrs, [0.25, 0.25, 0.25, 0.125]);
    assert!(optimizer.set_base_lr(f64::INFINITY).is_err());
    assert_eq!(optimizer.rule(3).expect("a group").lr(), 0.125, "nothing changed");
    for name in ["block.weight", "block.bias", "norm.weight", "head"] {
        optimizer.set_param(name, &[1.0, 1.0]).expect("set");
    }
    // Without gradients only weight decay moves a parameter.
    step(gpu, &mut optimizer);
    let read = |name| optimizer.read_param(name).and_then(|r| r.wait()).expect("read")[0];
    assert_eq!(
        ["block.weight", "block.bias", "norm.weight", "head"].map(read),
        [0.975, 1.0, 1.0, 0.9875]
    );
}
