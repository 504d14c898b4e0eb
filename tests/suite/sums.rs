//! Sums over tensors, such as the norms of trust ratios: each tensor its own, in a constant number
//! of dispatches.

use crate::common::exact::{Arrays, check_step};
use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name};
use crate::common::random::Random;
use wgpu_optim::{Builder, DynRule, LAMB, LARS, Number, Real, Rule, Step, SumKind, fields};

fn rules() -> [Box<dyn DynRule>; 2] {
    let lamb = LAMB { lr: 0.1, weight_decay: 0.01, ..Default::default() };
    [lamb.into(), LARS { weight_decay: 0.01, ..Default::default() }.into()]
}

/// Steps a model of these tensors and judges each tensor, whose norms must be its own.
fn step_and_check(gpu: &'static Gpu, rule: &dyn DynRule, lens: &[usize], placement: Placement) {
    let mut random = Random::new(31);
    let mut model = Model::new(gpu, rule.boxed(), lens, placement).expect("built");
    model.randomize(&mut random, -4.0, 4.0);
    let mut before = model.arrays();
    for step in 1..=2 {
        let grads: Vec<_> = lens.iter().map(|&len| random.wide_vec(len, -4.0, 4.0)).collect();
        model.set_grads(&grads);
        model.step();
        let after = model.arrays();
        for (i, grad) in grads.iter().enumerate() {
            check_step(rule, step, &before[i], grad, &after[i])
                .unwrap_or_else(|wrong| panic!("{rule:?} {placement:?} p{i}: {wrong:?}"));
        }
        before = after;
    }
}

#[test]
fn many_uneven_tensors_have_norms_of_their_own() {
    let lens: Vec<_> = (0..300).map(|i| (i * i) % 1499).collect();
    for rule in rules() {
        for placement in [Placement::Arena, Placement::Pooled] {
            step_and_check(Gpu::default(), rule.as_ref(), &lens, placement);
        }
    }
}

/// Tensors of few blocks are added up by a thread each, those of many, and one among these, by a
/// workgroup: the bits are the same.
#[test]
fn a_tensor_has_the_same_norm_alone_as_among_many() {
    let gpu = Gpu::default();
    let block = 256;
    let few = [1, block, 8 * block - 1, 8 * block];
    let lens = [&few[..], &[8 * block + 1, 3, 20_000, 5], &few, &[2 * block; 300]].concat();
    let mut random = Random::new(7);
    let grads: Vec<_> = lens.iter().map(|&len| random.wide_vec(len, -4.0, 4.0)).collect();
    let stepped = |lens: &[usize], grads: &[Vec<f32>]| {
        let rule = LAMB { lr: 0.1, ..Default::default() }.into();
        let control = |builder: Builder| builder.statistics();
        let mut model = Model::with(gpu, rule, lens, Placement::Arena, control).expect("built");
        // Parameters are of the gradients' magnitudes.
        (0..lens.len()).for_each(|i| model.optimizer.set_param(name(i), &grads[i]).expect("set"));
        model.set_grads(grads);
        model.step();
        let norms = model.statistics().parameters.into_iter().map(|param| param.norms);
        norms.zip(model.bits()).collect::<Vec<_>>()
    };
    let together = stepped(&lens, &grads);
    for i in 0..2 * few.len() + 4 {
        let alone = stepped(&lens[i..=i], &grads[i..=i]);
        assert!(alone[0] == together[i], "tensor {i} of {} elements", lens[i]);
    }
}

/// More blocks than one row adds up, and more elements than one window holds.
#[test]
fn a_long_tensor_has_one_norm() {
    for rule in rules() {
        for gpu in [Gpu::default(), Gpu::small_bindings()] {
            step_and_check(gpu, rule.as_ref(), &[5, 300_001, 1], Placement::Arena);
        }
    }
}

#[test]
fn the_number_of_dispatches_does_not_depend_on_the_number_of_tensors() {
    let dispatches = |count: usize| {
        let lens: Vec<_> = (0..count).map(|i| 1 + i % 700).collect();
        let model = Model::new(Gpu::default(), LAMB::default().into(), &lens, Placement::Arena);
        model.expect("built").optimizer.dispatches().expect("ready")
    };
    // Norms of the blocks, of the tensors, and the step.
    assert_eq!([dispatches(1), dispatches(3000)], [3, 3]);
}

/// Where a norm is 0 the ratio is 1: a tensor of zeros starts to move, one without a direction
/// rests.
#[test]
fn tensors_of_zero_norm_have_a_ratio_of_one() {
    for placement in PLACEMENTS {
        let rule = LARS { lr: 0.5, ..Default::default() };
        let lens = [4, 4, 4];
        let mut model = Model::new(Gpu::default(), rule.into(), &lens, placement).expect("built");
        model.optimizer.set_param(name(0), &[0.0; 4]).expect("set");
        model.optimizer.set_param(name(1), &[2.0; 4]).expect("set");
        model.optimizer.set_param(name(2), &[3.0; 4]).expect("set");
        model.set_grads(&[vec![1.0; 4], vec![0.0; 4], vec![-6.0; 4]]);
        model.step();
        let found: Vec<Arrays> = model.arrays();
        assert_eq!(found[0].0[0], [-0.5; 4], "p = 0: a step of lr·g");
        assert_eq!(found[1].0[0], [2.0; 4], "g = 0");
        // r = 0.001·‖3‖/‖6‖, and −lr·r·g = 0.0015.
        for x in &found[2].0[0] {
            assert!((x - 3.0015).abs() < 1e-6, "{x}");
        }
    }
}

/// Squares of such numbers overflow or vanish in f32; norms do not.
#[test]
fn norms_of_extreme_tensors_neither_overflow_nor_vanish() {
    for scale in [1e-30f32, 1e-20, 1.0, 1e20, 1e30] {
        let rule = LARS { lr: 1.0, trust_coefficient: 0.5, ..Default::default() };
        let mut model =
            Model::new(Gpu::default(), rule.into(), &[1000], Placement::Arena).expect("built");
        model.optimizer.set_param(name(0), &vec![scale; 1000]).expect("set");
        model.set_grads(&[vec![1.0; 1000]]);
        model.step();
        let found = &model.arrays()[0].0[0];
        let off = found.iter().map(|x| (x / scale - 0.5).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "scale {scale}: off by {off}");
    }
}

fields! {
    struct MineCoeffs { lr, most }
}
fields! {
    struct MineState { unused }
}
fields! {
    struct MineSums { norm, total, pull }
}

/// A user's rule that has a norm and sums of its tensor, and no memory; with the text of this
/// number.
#[derive(Debug, Clone)]
struct Mine<const TEXT: usize>;

/// The text of a rule with sums, from these declarations on.
macro_rules! text {
    ($($rest:literal),*) => {
        concat!(
            "struct Coeffs { lr: f32, most: f32 }
             struct State { unused: Real }
             fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
                 return p - c.lr * g;
             }",
            $($rest),*
        )
    };
}

const TEXTS: [&str; 6] = [
    text!(
        "struct Summands { norm: Real, total: Real, pull: Real }
         struct Sums { norm: f32, total: f32, pull: f32 }
         fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands {
             return Summands(g, abs(p), abs(p * g));
         }
         fn with_sums(c: Coeffs, sums: Sums) -> Coeffs {
             var own = c;
             own.lr *= min(c.most, sums.total / (sums.norm + sums.pull + 1.0));
             return own;
         }"
    ),
    text!(""),
    text!("struct Summands { norm: Real, total: Real, pull: Real }"),
    text!(
        "struct Summands { norm: Real, total: Real, pull: Real }
         struct Sums { norm: f32, pull: f32, total: f32 }"
    ),
    text!(
        "struct Summands { norm: Real, total: Real, pull: Real }
         struct Sums { norm: f32, total: f32, pull: f32 }
         fn with_sums(c: Coeffs, sums: Sums) -> Coeffs { return c; }"
    ),
    text!(
        "struct Summands { norm: Real, total: Real, pull: Real }
         struct Sums { norm: f32, total: f32, pull: f32 }
         fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands {
             return Summands(g, p, p * g);
         }"
    ),
];

impl<const TEXT: usize> Rule for Mine<TEXT> {
    const NAME: &'static str = "mine";
    const WGSL: &'static str = TEXTS[TEXT];
    type Coeffs<T: Copy> = MineCoeffs<T>;
    type State<T: Copy> = MineState<T>;
    type Sums<T: Copy> = MineSums<T>;
    fn lr(&self) -> f64 {
        0.1
    }
    fn set_lr(&mut self, _: f64) {}
    fn initial_state(&self) -> MineState<Option<f64>> {
        MineState { unused: None }
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> MineCoeffs<N> {
        MineCoeffs { lr: 0.1.into(), most: 0.5.into() }
    }
    fn update<T: Real>(&self, c: &MineCoeffs<T>, p: T, g: T, _: &mut MineState<T>) -> T {
        p - c.lr * g
    }
    fn sum_kinds() -> MineSums<SumKind> {
        MineSums { norm: SumKind::Norm, total: SumKind::Total, pull: SumKind::Total }
    }
    fn summands<T: Real>(
        &self,
        _: &MineCoeffs<T>,
        p: T,
        g: T,
        _: &mut MineState<T>,
    ) -> MineSums<T> {
        MineSums { norm: g, total: p.abs(), pull: (p * g).abs() }
    }
    fn with_sums(&self, c: MineCoeffs<f64>, sums: &MineSums<f64>) -> MineCoeffs<f64> {
        let ratio = c.most.min(sums.total / (sums.norm + sums.pull + 1.0));
        MineCoeffs { lr: c.lr * ratio, ..c }
    }
}

/// A rule of one's own has sums by their declaration and two functions, and needs no memory for it.
#[test]
fn a_users_rule_may_have_norms_and_sums() {
    for placement in PLACEMENTS {
        step_and_check(Gpu::default(), &Mine::<0>, &[1, 300, 5, 0, 70_001], placement);
    }
    step_and_check(Gpu::small_bindings(), &Mine::<0>, &[5, 300_001, 1], Placement::Arena);
}

/// Refused with a message that has all these words.
fn refused<const TEXT: usize>(words: &[&str]) {
    let built = Model::new(Gpu::default(), Mine::<TEXT>.into(), &[4], Placement::Arena);
    let message = built.map(|_| ()).expect_err("refused").to_string();
    for word in [&["`mine`"], words].concat() {
        assert!(message.contains(word), "no {word} in: {message}");
    }
}

#[test]
fn a_users_rule_whose_sums_do_not_fit_is_refused() {
    refused::<1>(&["no `struct Summands`", "norm: Real, total: Real, pull: Real"]);
    refused::<2>(&["no `struct Sums`", "norm: f32, total: f32, pull: f32"]);
    refused::<3>(&["`struct Sums` differs", "WGSL: norm: f32, pull: f32, total: f32"]);
    let signatures = ["fn summands(c: Coeffs, p: Real", "fn with_sums(c: Coeffs, sums: Sums)"];
    refused::<4>(&[&["no `fn summands`"], &signatures[..]].concat());
    refused::<5>(&[&["no `fn with_sums`"], &signatures[..]].concat());
}
