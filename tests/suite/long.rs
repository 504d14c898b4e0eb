//! A hundred thousand steps in f32, as the GPU takes them, beside the same steps in f64: nothing
//! becomes NaN, and nothing drifts further away than f32's roundings explain.

use crate::common::cases::{label, variants};
use crate::common::facts;
use crate::common::gpu::Gpu;
use crate::common::model::{Model, Placement};
use crate::common::random::Random;
use wgpu_optim::{CpuOptimizer, DynRule, LAMB, LARS, RMSprop, Real};

const STEPS: u64 = 100_000;

/// Each element's gradients are a pattern times one of these.
const SIZES: [f64; 3] = [1e-3, 1.0, 1e3];

#[derive(Debug, Clone, Copy)]
enum Pattern {
    Constant,
    /// 1 and a thousandth of noise.
    Steady,
    /// Shrinks to nothing, through the smallest numbers of f32.
    Vanishing,
    Alternating,
    /// One step in a hundred.
    Sparse,
    Noise,
}

const PATTERNS: [Pattern; 6] = [
    Pattern::Constant,
    Pattern::Steady,
    Pattern::Vanishing,
    Pattern::Alternating,
    Pattern::Sparse,
    Pattern::Noise,
];

impl Pattern {
    /// The name of its parameter.
    fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Steady => "steady",
            Self::Vanishing => "vanishing",
            Self::Alternating => "alternating",
            Self::Sparse => "sparse",
            Self::Noise => "noise",
        }
    }

    fn at(self, step: u64, random: &mut Random) -> f64 {
        let noise = 2.0 * random.unit() - 1.0;
        match self {
            Self::Constant => 0.1,
            Self::Steady => 1.0 + 1e-3 * noise,
            Self::Vanishing => 0.998f64.powf(step as f64),
            Self::Alternating => 1.0 - 2.0 * (step % 2) as f64,
            Self::Sparse => f64::from(u8::from(step.is_multiple_of(100))) * (0.5 + noise),
            Self::Noise => noise,
        }
    }
}

/// The optimizer with a parameter for each pattern.
fn build<T: Real>(rule: &dyn DynRule) -> CpuOptimizer<T> {
    let params = PATTERNS.map(|pattern| (pattern.name(), SIZES.len()));
    let mut built = CpuOptimizer::builder().group(rule.boxed(), params).build().expect("built");
    for pattern in PATTERNS {
        let start = SIZES.map(|_| T::from_f64(0.7));
        built.set_param(pattern.name(), &start).expect("set");
    }
    built
}

/// Both runs of a rule, and the way that each element of the f64 run took.
struct Runs {
    narrow: CpuOptimizer<f32>,
    wide: CpuOptimizer<f64>,
    ways: [[f64; SIZES.len()]; PATTERNS.len()],
}

impl Runs {
    fn new(rule: &dyn DynRule) -> Self {
        Self { narrow: build(rule), wide: build(rule), ways: Default::default() }
    }

    fn step(&mut self, step: u64, random: &mut Random) {
        for pattern in PATTERNS {
            let value = pattern.at(step, random);
            let grad = SIZES.map(|size| (size * value) as f32);
            self.narrow.set_grad(pattern.name(), &grad).expect("set");
            self.wide.set_grad(pattern.name(), &grad.map(f64::from)).expect("set");
        }
        let before = PATTERNS.map(|pattern| elements(&self.wide, pattern));
        self.narrow.step().expect("stepped");
        self.wide.step().expect("stepped");
        for ((pattern, way), before) in PATTERNS.into_iter().zip(&mut self.ways).zip(before) {
            let after = elements(&self.wide, pattern);
            (0..SIZES.len()).for_each(|i| way[i] += (after[i] - before[i]).abs());
        }
    }

    /// How far the f32 run is from the f64 run, in parts of the latter's way.
    fn drift(&self, pattern: usize) -> f64 {
        let found = elements(&self.narrow, PATTERNS[pattern]);
        let exact = elements(&self.wide, PATTERNS[pattern]);
        let drift = |i: usize| {
            assert!(found[i].is_finite() && exact[i].is_finite(), "{} for {}", found[i], exact[i]);
            (found[i] - exact[i]).abs() / self.ways[pattern][i]
        };
        (0..SIZES.len()).map(drift).fold(0.0, f64::max)
    }
}

fn elements<T: Real>(optimizer: &CpuOptimizer<T>, pattern: Pattern) -> [f64; SIZES.len()] {
    let param = optimizer.param(pattern.name()).expect("there");
    std::array::from_fn(|i| param[i].to_f64())
}

#[test]
fn no_rule_drifts_further_than_roundings_explain() {
    for mut rule in variants() {
        if rule.name() == "lars" {
            // By default a constant gradient makes the parameter grow by a hundredth in each step.
            rule.set_lr(0.01);
        }
        let bounds = (facts::of(rule.name()).expect("a row").drifts)(rule.as_ref());
        let (mut runs, mut random) = (Runs::new(rule.as_ref()), Random::new(5));
        (1..=STEPS).for_each(|step| runs.step(step, &mut random));
        for (k, bound) in bounds.into_iter().enumerate() {
            let drift = runs.drift(k);
            assert!(drift <= bound, "{} {:?}: {drift}", label(rule.as_ref()), PATTERNS[k]);
        }
    }
}

/// Gradients that hardly vary, whose variance f32 does not resolve.
#[test]
fn centered_rmsprop_is_never_nan_on_the_gpu() {
    let len = 4096;
    for eps_in_sqrt in [false, true] {
        let rule = RMSprop { centered: true, eps_in_sqrt, ..Default::default() };
        let mut model =
            Model::new(Gpu::default(), rule.into(), &[len, 1], Placement::Arena).expect("built");
        let mut random = Random::new(8);
        for _ in 0..2000 {
            let noisy = (0..len).map(|_| (1.0 + 1e-3 * (2.0 * random.unit() - 1.0)) as f32);
            model.set_grads(&[noisy.collect(), vec![0.1]]);
            model.step();
        }
        // A step of the exact run is about lr by the noise's deviation, 17; here it may be as much
        // as by the root of f32's resolution, 29.
        for param in model.arrays() {
            assert!(param.0[0].iter().all(|p| p.abs() < 2000.0 * 30.0), "{:?}", &param.0[0][..4]);
        }
    }
}

/// Where a trust ratio would leave f32's range, it counts as unknown; the tensor goes on.
#[test]
fn trust_ratios_stay_in_range() {
    for rule in [LAMB::default().into(), LARS::default().into()] as [Box<dyn DynRule>; 2] {
        let mut model =
            Model::new(Gpu::default(), rule.boxed(), &[2], Placement::Arena).expect("built");
        let mut cpu =
            CpuOptimizer::<f32>::builder().group(rule, [("p", 2)]).build().expect("built");
        let (start, grad) = ([1e18f32, -1e18], [1e-30f32, 0.0]);
        model.optimizer.set_param("p0", &start).expect("set");
        cpu.set_param("p", &start).expect("set");
        for _ in 0..3 {
            model.set_grads(&[grad.to_vec()]);
            model.step();
            cpu.set_grad("p", &grad).expect("set");
            cpu.step().expect("stepped");
        }
        assert_eq!(model.arrays()[0].0[0], start, "the update is far below an ulp");
        assert_eq!(cpu.param("p").expect("there").to_vec(), start);
    }
}
