//! Modifiers between steps: what is refused, what may change, who moves, and what is resumed.

use super::text::all;
use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name};
use crate::common::random::Random;
use wgpu_optim::{
    Adam, AdamW, Average, AverageKind, CpuOptimizer, Decay, DecayKind, DynRule, Error, LAMB,
    Lookahead, Modifiers, Optimizer, SGD,
};

type Rule = Box<dyn DynRule>;

fn build(rule: Rule) -> Result<CpuOptimizer<f32>, Error> {
    CpuOptimizer::builder().group(rule, [("w", 3)]).build()
}

fn averaging() -> Modifiers {
    Modifiers { average: Some(Average::ema(0.5)), ..Modifiers::default() }
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("refused").to_string()
}

/// What is out of range is refused with its name, what was expected, and what to do.
#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let none = Modifiers::default();
    let decay = |kind, weight_decay| Some(Decay::new(kind, weight_decay));
    let average = |kind| Some(Average::new(kind));
    let lookahead = |k, alpha| Some(Lookahead { k, alpha });
    let of_max = |max_lr| DecayKind::Independent { max_lr };
    let cases = [
        ("decay.weight_decay", Modifiers { decay: decay(DecayKind::Fixed, -0.1), ..none }),
        ("decay.weight_decay", Modifiers { decay: decay(DecayKind::Fixed, f64::NAN), ..none }),
        ("decay.max_lr", Modifiers { decay: decay(of_max(0.0), 0.1), ..none }),
        (
            "decay.cautious",
            Modifiers { decay: Some(Decay::new(DecayKind::Coupled, 0.1).cautious()), ..none },
        ),
        ("clip_update", Modifiers { clip_update: Some(0.0), ..none }),
        ("clip_update", Modifiers { clip_update: Some(f64::INFINITY), ..none }),
        ("clip_grad_tensor", Modifiers { clip_grad_tensor: Some(-1.0), ..none }),
        ("bounds", Modifiers { bounds: Some((1.0, -1.0)), ..none }),
        ("bounds", Modifiers { bounds: Some((f64::NAN, 1.0)), ..none }),
        ("average.decay", Modifiers { average: average(AverageKind::Ema { decay: 1.0 }), ..none }),
        ("average.every", Modifiers { average: Some(Average::swa(0, 0)), ..none }),
        ("average.start", Modifiers { average: Some(Average::swa(1 << 40, 1)), ..none }),
        ("lookahead.k", Modifiers { lookahead: lookahead(0, 0.5), ..none }),
        ("lookahead.alpha", Modifiers { lookahead: lookahead(5, 0.0), ..none }),
        ("lookahead.alpha", Modifiers { lookahead: lookahead(5, 1.5), ..none }),
    ];
    for (parameter, modifiers) in cases {
        let message = refusal(build(modifiers.on(SGD::default())));
        let start = format!("Modifiers: `{parameter}` must be ");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn two_kinds_of_decay_at_once_are_refused() {
    let decay = Some(Decay::new(DecayKind::Decoupled, 0.1));
    let decays = Modifiers { decay, ..Modifiers::default() };
    let rules: [Rule; 3] = [
        AdamW::default().into(),
        SGD { weight_decay: 0.1, ..Default::default() }.into(),
        LAMB { weight_decay: 0.1, ..Default::default() }.into(),
    ];
    for rule in rules {
        let message = refusal(build(decays.on(rule)));
        assert!(message.contains("`weight_decay` must be 0 where a modifier decays"), "{message}");
    }
    build(decays.on(AdamW { weight_decay: 0.0, ..Default::default() })).expect("built");
}

/// Coupled decay is that of rules that have it.
#[test]
fn coupled_decay_is_the_rules_own_to_the_bit() {
    let decay = Some(Decay::new(DecayKind::Coupled, 0.1));
    let modified = Modifiers { decay, ..Modifiers::default() }.on(SGD::default());
    let own = SGD { weight_decay: 0.1, ..Default::default() };
    let step = |rule: Rule| {
        let mut optimizer = build(rule).expect("built");
        optimizer.set_param("w", &[1.0, -2.0, 3.0]).expect("set");
        optimizer.set_grad("w", &[0.5, 0.25, -0.125]).expect("set");
        optimizer.step().expect("stepped");
        optimizer.param("w").expect("known").to_vec()
    };
    assert_eq!(step(modified), step(own.into()));
}

#[test]
fn numbers_change_between_steps_and_what_decides_the_kernel_does_not() {
    let mut optimizer = build(averaging().on(Adam::default())).expect("built");
    let average = Some(Average { start: 3, ..Average::ema(0.25) });
    optimizer.set_modifiers(0, Modifiers { average, ..averaging() }).expect("numbers alone");
    assert_eq!(optimizer.rule(0).expect("known").modifiers().expect("some").average, average);
    for other in [Modifiers::default(), Modifiers { cautious: true, ..averaging() }] {
        let message = refusal(optimizer.set_modifiers(0, other));
        assert!(message.contains("(\"average\", true)"), "{message}");
    }
    let bad = Modifiers { average: Some(Average::swa(0, 0)), ..averaging() };
    assert!(refusal(optimizer.set_modifiers(0, bad)).contains("average.every"));
    // A rule by itself keeps them, and a step of one's own type finds it.
    optimizer.set_rule(0, Adam { lr: 0.5, ..Default::default() }).expect("set");
    optimizer.update_rule(0, |rule: &mut Adam| rule.eps = 1e-4).expect("set");
    let rule = optimizer.rule(0).expect("known");
    assert_eq!(rule.modifiers().expect("some").average, average);
    assert_eq!(rule.downcast_ref::<Adam>().map(|rule| (rule.lr, rule.eps)), Some((0.5, 1e-4)));
}

/// Parameters of groups with and without a modifier have kernels of their own.
#[test]
fn parameters_do_not_move_to_a_group_with_other_modifiers() {
    let mut optimizer = CpuOptimizer::<f32>::builder()
        .group(averaging().on(Adam::default()), [("a", 2)])
        .group(Adam::default(), [("b", 2)])
        .group(averaging().on(Adam { lr: 0.5, ..Default::default() }), [("c", 2)])
        .build()
        .expect("built");
    refusal(optimizer.move_to_group(["a"], 1));
    refusal(optimizer.move_to_group(["b"], 0));
    optimizer.move_to_group(["a"], 2).expect("moved");
}

/// The average and the slow copy, with their parameter, as a step would find them.
fn kept(optimizer: &CpuOptimizer<f32>) -> [Vec<f32>; 3] {
    let state = |name| optimizer.state("w", name).expect("known").to_vec();
    [optimizer.param("w").expect("known").to_vec(), state("average"), state("slow")]
}

#[test]
fn frozen_and_skipped_steps_move_no_average() {
    let lookahead = Some(Lookahead { k: 2, alpha: 0.5 });
    let rule = Modifiers { lookahead, ..averaging() }.on(SGD::default());
    let build = || {
        let builder = CpuOptimizer::<f32>::builder().group(rule.boxed(), [("w", 3)]);
        let mut optimizer = builder.skip_non_finite().build().expect("built");
        optimizer.set_param("w", &[1.0, -2.0, 3.0]).expect("set");
        optimizer
    };
    let step = |optimizer: &mut CpuOptimizer<f32>, gradient: f32| {
        optimizer.set_grad("w", &[gradient; 3]).expect("set");
        optimizer.step().expect("stepped");
    };
    let (mut straight, mut interrupted) = (build(), build());
    for index in 0..4 {
        step(&mut straight, 1.0);
        step(&mut interrupted, f32::NAN);
        interrupted.set_frozen(["w"], true).expect("known");
        step(&mut interrupted, 1.0);
        interrupted.set_frozen(["w"], false).expect("known");
        step(&mut interrupted, 1.0);
        assert_eq!(kept(&straight), kept(&interrupted), "step {index}");
    }
    assert_ne!(kept(&straight)[0], kept(&straight)[1]);
}

/// Lengths of a part of a block, and of several.
const LENS: [usize; 4] = [1, 67, 1025, 256];

fn large(rule: Rule, placement: Placement) -> Model {
    let mut model = Model::new(Gpu::adapter_limits(), rule, &LENS, placement).expect("built");
    model.randomize(&mut Random::new(3), -1.0, 0.0);
    model
}

fn gradients(random: &mut Random) -> Vec<Vec<f32>> {
    LENS.iter().map(|&len| random.wide_vec(len, -2.0, 0.0)).collect()
}

#[test]
fn placements_give_the_same_bits_and_nothing_else_is_written() {
    for rule in [all().on(Adam::default()), all().on(LAMB::default())] {
        let of = |placement| {
            let mut model = large(rule.boxed(), placement);
            let mut random = Random::new(5);
            for _ in 0..3 {
                model.set_grads(&gradients(&mut random));
                model.step();
            }
            model.check_canaries();
            model.bits()
        };
        let first = of(PLACEMENTS[0]);
        for placement in &PLACEMENTS[1..] {
            assert!(of(*placement) == first, "{placement:?}");
        }
    }
}

/// A run that is saved and resumed, on the CPU or on the GPU, has the bits of one that went on.
#[test]
fn a_run_is_resumed_with_its_averages() {
    let average = Some(Average { start: 1, every: 2, ..Average::ema(0.75) });
    let rule = Modifiers { average, ..all() }.on(Adam::default());
    let mut random = Random::new(9);
    let mut straight = large(rule.boxed(), Placement::Arena);
    let step = |model: &mut Model, grads: &[Vec<f32>]| {
        model.set_grads(grads);
        model.step();
    };
    for _ in 0..3 {
        step(&mut straight, &gradients(&mut random));
    }
    let saved = straight.optimizer.save().bytes().expect("saved");
    let mut resumed = large(rule.boxed(), Placement::Separate);
    resumed.optimizer.load().bytes(&saved).expect("loaded");
    for _ in 0..4 {
        let grads = gradients(&mut random);
        step(&mut straight, &grads);
        step(&mut resumed, &grads);
    }
    assert!(straight.bits() == resumed.bits());

    let group = LENS.iter().enumerate().map(|(index, &len)| (name(index), len));
    let cpu = CpuOptimizer::<f32>::builder().group(rule.boxed(), group).build();
    cpu.expect("built").load().bytes(&saved).expect("loaded");
}

/// The file's numbers are the run's, also those of modifiers.
#[test]
fn a_checkpoint_has_the_modifiers_numbers() {
    let told = Modifiers {
        average: Some(Average { start: 7, every: 3, ..Average::ema(0.25) }),
        lookahead: Some(Lookahead { k: 4, alpha: 0.25 }),
        bounds: Some((-0.5, 0.75)),
        ..averaging()
    };
    let own = Modifiers {
        average: Some(Average::ema(0.5)),
        lookahead: Some(Lookahead::default()),
        bounds: Some((-1.0, 1.0)),
        ..averaging()
    };
    let saved = build(told.on(Adam::default())).expect("built").save().bytes().expect("saved");
    let mut optimizer = build(own.on(Adam::default())).expect("built");
    optimizer.load().bytes(&saved).expect("loaded");
    assert_eq!(optimizer.rule(0).expect("known").modifiers(), Some(&told));
}

/// A file without an average starts it at the parameter, not at 0.
#[test]
fn an_average_that_a_file_lacks_starts_at_the_parameter() {
    let mut plain = build(Adam::default().into()).expect("built");
    plain.set_param("w", &[1.0, -2.0, 3.0]).expect("set");
    plain.set_grad("w", &[1.0; 3]).expect("set");
    plain.step().expect("stepped");
    let saved = plain.save().bytes().expect("saved");
    let mut averaged = build(averaging().on(Adam::default())).expect("built");
    assert!(refusal(averaged.load().bytes(&saved)).contains("`average`"));
    averaged.load().allow_missing().bytes(&saved).expect("loaded");
    let [param, average] = ["param", "average"].map(|array| match array {
        "param" => averaged.param("w").expect("known").to_vec(),
        state => averaged.state("w", state).expect("known").to_vec(),
    });
    assert_eq!(param, average);
    let without = averaged.load().allow_missing().without_params().bytes(&saved);
    assert!(refusal(without).contains("its `average`, or its elements"));
}

/// A step in parts is a whole one.
#[test]
fn parts_of_a_step_have_the_bits_of_a_whole_one() {
    let rule = all().on(Adam::default());
    let (mut whole, mut parts) =
        (large(rule.boxed(), Placement::Separate), large(rule.boxed(), Placement::Separate));
    let mut random = Random::new(4);
    for _ in 0..2 {
        let grads = gradients(&mut random);
        whole.set_grads(&grads);
        whole.step();
        parts.set_grads(&grads);
        let mut encoder = parts.gpu.encoder();
        let mut step = parts.optimizer.begin_step().expect("begun");
        for part in [vec!["p3", "p1"], vec!["p0", "p2"]] {
            step.params(&mut encoder, part).expect("recorded");
        }
        step.end().expect("ended");
        drop(step);
        parts.gpu.submit(encoder);
    }
    assert!(whole.bits() == parts.bits());
}

/// A group with modifiers is added to a running optimizer like any other.
#[test]
fn a_group_with_modifiers_is_added_between_steps() {
    let gpu = Gpu::default();
    let builder = Optimizer::builder().group(SGD::default(), [("w", 3)]);
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    let group = optimizer.add_group(averaging().on(SGD::default()), [("v", 2)]).expect("added");
    assert_eq!(group, 1);
    optimizer.set_param("v", &[1.0, 2.0]).expect("set");
    optimizer.set_grad("v", &[1.0, 1.0]).expect("set");
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    let average = optimizer.read_state("v", "average").and_then(|r| r.wait()).expect("read");
    let param = optimizer.read_param("v").and_then(|r| r.wait()).expect("read");
    assert_eq!(average, vec![(1.0 + param[0]) / 2.0, (2.0 + param[1]) / 2.0]);
}
