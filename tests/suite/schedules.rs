//! Schedules give PyTorch's rates (`tests/schedules/generate.py`), keep what they promise at any step, refuse
//! what has no meaning, and survive being saved.

use proptest::prelude::*;
use serde_json::{Map, Value};
use std::cell::RefCell;
use wgpu_optim::schedule::{
    AnnealStrategy, Constant, CosineAnnealing, CosineAnnealingWarmRestarts, Cyclic, CyclicMode,
    Exponential, InverseSqrt, Linear, MultiStep, OneCycle, PlateauMode, Polynomial, Product,
    ReduceOnPlateau, Scaled, Schedule, Sequential, Step, ThresholdMode, WarmUp,
};
use wgpu_optim::{CpuOptimizer, SGD};

// PyTorch's numbers.

/// How far a rate may be from PyTorch's, relatively. It computes most rates from the one before, a few
/// roundings a step over at most 80 steps; 1e-14 was measured.
const RELATIVE: f64 = 1e-13;
/// And as a share of the case's largest rate: PyTorch's straight line ends at a difference of two large
/// numbers, which has their rounding error however small it is. (The smallest rates are a millionth.)
const OF_LARGEST: f64 = f64::EPSILON;

/// A case's settings. Reading one marks it; what stays unread was not understood.
struct Settings<'a> {
    all: &'a Map<String, Value>,
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Settings<'a> {
    fn of(value: &'a Value) -> Self {
        Self { all: value.as_object().expect("settings"), read: RefCell::default() }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.all.get_key_value(name)?;
        self.read.borrow_mut().push(name);
        Some(value)
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        self.get(name).map_or(default, |value| value.as_f64().expect("a number"))
    }

    fn steps(&self, name: &str, default: u64) -> u64 {
        self.get(name).map_or(default, |value| value.as_u64().expect("a number of steps"))
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |value| value.as_bool().expect("a flag"))
    }

    fn text(&self, name: &str, default: &'a str) -> &'a str {
        self.get(name).map_or(default, |value| value.as_str().expect("a text"))
    }

    fn milestones(&self) -> Vec<u64> {
        let all = self.get("milestones").and_then(Value::as_array).expect("milestones");
        all.iter().map(|value| value.as_u64().expect("a step")).collect()
    }

    fn schedulers(&self, lr: impl Fn(usize) -> f64) -> Vec<Schedule> {
        let all = self.get("schedulers").and_then(Value::as_array).expect("schedulers");
        all.iter().enumerate().map(|(k, scheduler)| schedule(scheduler, lr(k))).collect()
    }

    fn all_read(&self) {
        for name in self.all.keys() {
            assert!(self.read.borrow().contains(&name.as_str()), "not understood: {name}");
        }
    }
}

/// The schedule of a case's `scheduler`.
fn schedule(scheduler: &Value, lr: f64) -> Schedule {
    let s = Settings::of(&scheduler[1]);
    let schedule = match scheduler[0].as_str().expect("a class") {
        "ConstantLR" => Constant {
            lr,
            factor: s.number("factor", 1.0 / 3.0),
            total_iters: s.steps("total_iters", 5),
        }
        .into(),
        "LinearLR" => Linear {
            lr,
            start_factor: s.number("start_factor", 1.0 / 3.0),
            end_factor: s.number("end_factor", 1.0),
            total_iters: s.steps("total_iters", 5),
        }
        .into(),
        "ExponentialLR" => Exponential { lr, gamma: s.number("gamma", f64::NAN) }.into(),
        "StepLR" => {
            Step { lr, step_size: s.steps("step_size", 0), gamma: s.number("gamma", 0.1) }.into()
        }
        "MultiStepLR" => {
            MultiStep { lr, milestones: s.milestones(), gamma: s.number("gamma", 0.1) }.into()
        }
        "PolynomialLR" => {
            Polynomial { lr, total_iters: s.steps("total_iters", 5), power: s.number("power", 1.0) }
                .into()
        }
        "CosineAnnealingLR" => {
            CosineAnnealing { lr, t_max: s.steps("T_max", 0), eta_min: s.number("eta_min", 0.0) }
                .into()
        }
        "CosineAnnealingWarmRestarts" => CosineAnnealingWarmRestarts {
            lr,
            t_0: s.steps("T_0", 0),
            t_mult: s.steps("T_mult", 1),
            eta_min: s.number("eta_min", 0.0),
        }
        .into(),
        "OneCycleLR" => one_cycle(&s).into(),
        "CyclicLR" => cyclic(&s).into(),
        "Noam" => InverseSqrt::noam(lr, s.steps("d_model", 0), s.steps("warmup_steps", 0)).into(),
        "SequentialLR" => {
            Sequential { schedules: s.schedulers(|_| lr), milestones: s.milestones() }.into()
        }
        // All but the first are factors.
        "ChainedScheduler" => {
            Product { schedules: s.schedulers(|k| if k == 0 { lr } else { 1.0 }) }.into()
        }
        other => panic!("no schedule for {other}"),
    };
    s.all_read();
    schedule
}

fn one_cycle(s: &Settings<'_>) -> OneCycle {
    OneCycle {
        max_lr: s.number("max_lr", f64::NAN),
        total_steps: s.steps("total_steps", 0),
        pct_start: s.number("pct_start", 0.3),
        anneal_strategy: match s.text("anneal_strategy", "cos") {
            "cos" => AnnealStrategy::Cos,
            "linear" => AnnealStrategy::Linear,
            other => panic!("no strategy {other}"),
        },
        cycle_momentum: s.flag("cycle_momentum", true),
        base_momentum: s.number("base_momentum", 0.85),
        max_momentum: s.number("max_momentum", 0.95),
        div_factor: s.number("div_factor", 25.0),
        final_div_factor: s.number("final_div_factor", 1e4),
        three_phase: s.flag("three_phase", false),
    }
}

fn cyclic(s: &Settings<'_>) -> Cyclic {
    Cyclic {
        base_lr: s.number("base_lr", f64::NAN),
        max_lr: s.number("max_lr", f64::NAN),
        step_size_up: s.steps("step_size_up", 2000),
        step_size_down: s.get("step_size_down").and_then(Value::as_u64),
        mode: match s.text("mode", "triangular") {
            "triangular" => CyclicMode::Triangular,
            "triangular2" => CyclicMode::Triangular2,
            "exp_range" => CyclicMode::ExpRange,
            other => panic!("no mode {other}"),
        },
        gamma: s.number("gamma", 1.0),
        cycle_momentum: s.flag("cycle_momentum", true),
        base_momentum: s.number("base_momentum", 0.8),
        max_momentum: s.number("max_momentum", 0.9),
    }
}

fn plateau(settings: &Value, lr: f64) -> ReduceOnPlateau {
    let s = Settings::of(settings);
    let plateau = ReduceOnPlateau {
        mode: if s.text("mode", "min") == "min" { PlateauMode::Min } else { PlateauMode::Max },
        factor: s.number("factor", 0.1),
        patience: s.steps("patience", 10),
        threshold: s.number("threshold", 1e-4),
        threshold_mode: match s.text("threshold_mode", "rel") {
            "rel" => ThresholdMode::Rel,
            _ => ThresholdMode::Abs,
        },
        cooldown: s.steps("cooldown", 0),
        min_lr: s.number("min_lr", 0.0),
        eps: s.number("eps", 1e-8),
        ..ReduceOnPlateau::new(lr)
    };
    s.all_read();
    plateau
}

fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schedules/cases.json");
    let text = std::fs::read_to_string(path).expect("the cases");
    serde_json::from_str(&text).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().expect("a list").iter();
    all.map(|number| number.as_f64().unwrap_or(f64::NAN)).collect()
}

/// Why two lists of rates are not the same, if they are not.
fn difference(found: &[f64], expected: &[f64]) -> Option<String> {
    if found.len() != expected.len() || found.is_empty() {
        return Some(format!("{} rates instead of {}", found.len(), expected.len()));
    }
    let largest = expected.iter().copied().fold(0.0, f64::max);
    let wrong = found.iter().zip(expected).enumerate().find(|(_, (found, expected))| {
        let near = (*found - *expected).abs() <= RELATIVE * expected.abs() + OF_LARGEST * largest;
        !near
    });
    wrong.map(|(step, (found, expected))| format!("step {step}: {found:e}, not {expected:e}"))
}

#[test]
fn every_rate_is_pytorchs() {
    for case in cases() {
        let (name, lr) = (&case["name"], case["lr"].as_f64().expect("a rate"));
        let lrs = numbers(&case["lrs"]);
        if let Some(metrics) = case.get("metrics") {
            let mut plateau = plateau(&case["scheduler"][1], lr);
            plateau.validate().expect("valid");
            let found: Vec<_> = numbers(metrics).iter().map(|&m| plateau.observe(m)).collect();
            assert_eq!(difference(&found, &lrs), None, "{name}");
            continue;
        }
        let schedule = schedule(&case["scheduler"], lr);
        schedule.validate().expect("valid");
        let steps = 0..lrs.len() as u64;
        let found: Vec<_> = steps.clone().map(|step| schedule.lr(step)).collect();
        assert_eq!(difference(&found, &lrs), None, "{name}");
        if let Some(closed) = case.get("closed") {
            assert_eq!(difference(&found, &numbers(closed)), None, "{name}, in closed form");
        }
        let momenta: Option<Vec<_>> = steps.map(|step| schedule.momentum(step)).collect();
        assert_eq!(momenta.is_some(), case.get("momenta").is_some(), "{name}");
        if let Some(momenta) = momenta {
            assert_eq!(difference(&momenta, &numbers(&case["momenta"])), None, "{name}, momentum");
        }
    }
}

/// All of PyTorch's schedulers are among the cases, and the comparison can fail.
#[test]
fn the_comparison_compares() {
    let cases = cases();
    for class in [
        "ConstantLR",
        "LinearLR",
        "ExponentialLR",
        "StepLR",
        "MultiStepLR",
        "PolynomialLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "OneCycleLR",
        "CyclicLR",
        "Noam",
        "SequentialLR",
        "ChainedScheduler",
        "ReduceLROnPlateau",
    ] {
        assert!(cases.iter().any(|case| case["scheduler"][0] == class), "{class}");
    }
    assert_eq!(difference(&[1.0, 0.1], &[1.0, 0.1]), None);
    for wrong in [vec![1.0, 0.1 + 1e-12], vec![1.0, f64::NAN], vec![f64::INFINITY, 0.1], vec![1.0]]
    {
        assert!(difference(&wrong, &[1.0, 0.1]).is_some(), "{wrong:?}");
    }
    assert!(difference(&[], &[]).is_some());
    // A schedule that is one step late.
    for case in cases.iter().filter(|case| case.get("metrics").is_none()) {
        let lrs = numbers(&case["lrs"]);
        let schedule = schedule(&case["scheduler"], case["lr"].as_f64().expect("a rate"));
        let late: Vec<_> = (1..=lrs.len() as u64).map(|step| schedule.lr(step)).collect();
        let constant = lrs.iter().all(|&lr| lr == lrs[0]);
        assert!(constant || difference(&late, &lrs).is_some(), "{}", case["name"]);
    }
}

// What holds at every step.

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 8 => 1e-8..10.0, 1 => Just(1e300)]
}

fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 4 => 0.0..1.0, 1 => Just(1.0), 1 => 1.0..3.0]
}

/// Small numbers of steps, and all others.
fn steps() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1u64..50, 1 => 1u64..=u64::MAX, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)]
}

fn any_step() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..200, 2 => any::<u64>(), 1 => u64::MAX - 3..=u64::MAX]
}

fn cosine() -> impl Strategy<Value = CosineAnnealing> {
    (rate(), steps(), rate()).prop_map(|(lr, t_max, eta_min)| CosineAnnealing {
        lr,
        t_max,
        eta_min,
    })
}

fn warm_restarts() -> impl Strategy<Value = CosineAnnealingWarmRestarts> {
    let t_mult = prop_oneof![3 => 1u64..4, 1 => steps()];
    (rate(), steps(), t_mult, rate()).prop_map(|(lr, t_0, t_mult, eta_min)| {
        CosineAnnealingWarmRestarts { lr, t_0, t_mult, eta_min }
    })
}

fn cyclic_schedule() -> impl Strategy<Value = Cyclic> {
    let mode = prop_oneof![
        Just(CyclicMode::Triangular),
        Just(CyclicMode::Triangular2),
        Just(CyclicMode::ExpRange),
    ];
    (rate(), rate(), steps(), proptest::option::of(steps()), mode, 0.0..=1.0, any::<bool>())
        .prop_map(|(a, b, step_size_up, step_size_down, mode, gamma, cycle_momentum)| Cyclic {
            step_size_up,
            step_size_down,
            mode,
            gamma,
            cycle_momentum,
            ..Cyclic::new(a.min(b), a.max(b))
        })
}

fn one_cycle_schedule() -> impl Strategy<Value = OneCycle> {
    let strategy = prop_oneof![Just(AnnealStrategy::Cos), Just(AnnealStrategy::Linear)];
    let pct_start = prop_oneof![1 => Just(0.0), 6 => 0.0..1.0, 1 => Just(1.0), 1 => Just(0.1)];
    (rate(), steps(), pct_start, strategy, any::<bool>(), 1.0..50.0, 1.0..1e5).prop_map(
        |(max_lr, total, pct_start, anneal_strategy, three_phase, div_factor, final_div_factor)| {
            OneCycle {
                pct_start,
                anneal_strategy,
                three_phase,
                div_factor,
                final_div_factor,
                ..OneCycle::new(max_lr, total)
            }
        },
    )
}

fn simple() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        (rate(), factor(), steps())
            .prop_map(|(lr, factor, total_iters)| { Constant { lr, factor, total_iters }.into() }),
        (rate(), factor(), factor(), steps()).prop_map(|(lr, start_factor, end_factor, total)| {
            Linear { lr, start_factor, end_factor, total_iters: total }.into()
        }),
        (rate(), factor()).prop_map(|(lr, gamma)| Exponential { lr, gamma }.into()),
        (rate(), steps(), factor()).prop_map(|(lr, step_size, gamma)| Step {
            lr,
            step_size,
            gamma
        }
        .into()),
        (rate(), proptest::collection::vec(any_step(), 0..5), factor())
            .prop_map(|(lr, milestones, gamma)| MultiStep { lr, milestones, gamma }.into()),
        (rate(), steps(), 0.0..4.0).prop_map(|(lr, total_iters, power)| Polynomial {
            lr,
            total_iters,
            power
        }
        .into()),
        (rate(), steps()).prop_map(|(lr, warmup)| InverseSqrt::new(lr, warmup).into()),
        cosine().prop_map(Schedule::from),
        warm_restarts().prop_map(Schedule::from),
        cyclic_schedule().prop_map(Schedule::from),
        one_cycle_schedule().prop_map(Schedule::from),
    ]
}

/// Any valid schedule but a closure.
fn any_schedule() -> impl Strategy<Value = Schedule> {
    simple().prop_recursive(3, 12, 3, |inner| {
        let several = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (inner.clone(), factor(), 0u64..20)
                .prop_map(|(schedule, start, steps)| schedule.after_warm_up(start, steps)),
            (inner, factor()).prop_map(|(schedule, factor)| schedule.scaled(factor)),
            several.clone().prop_map(|schedules| Product { schedules }.into()),
            (several, proptest::collection::vec(1u64..50, 3)).prop_map(|(schedules, lengths)| {
                let ends = lengths.iter().scan(0, |end, length| {
                    *end += length;
                    Some(*end)
                });
                let milestones = ends.take(schedules.len() - 1).collect();
                Sequential { schedules, milestones }.into()
            }),
        ]
    })
}

fn within(lr: f64, a: f64, b: f64) -> bool {
    a.min(b) <= lr && lr <= a.max(b)
}

/// No jump between this step and the next that is larger than a slope allows, rounding aside.
fn continuous(schedule: &Schedule, step: u64, slope: f64, largest: f64) -> bool {
    let jump = (schedule.lr(step + 1) - schedule.lr(step)).abs();
    jump <= slope * (1.0 + 1e-9) + 1e-14 * largest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_step_gives_nan_or_less_than_nothing(schedule in any_schedule(), step in any_step()) {
        prop_assert!(schedule.validate().is_ok());
        let lr = schedule.lr(step);
        prop_assert!(lr >= 0.0, "{lr}");
        if let Some(momentum) = schedule.momentum(step) {
            prop_assert!((0.0..1.0).contains(&momentum), "{momentum}");
        }
    }

    #[test]
    fn rates_stay_between_their_bounds(
        cosine in cosine(),
        restarts in warm_restarts(),
        cyclic in cyclic_schedule(),
        one_cycle in one_cycle_schedule(),
        step in any_step(),
    ) {
        let lr = |schedule: Schedule| schedule.lr(step);
        prop_assert!(within(lr(cosine.into()), cosine.eta_min, cosine.lr));
        prop_assert!(within(lr(restarts.into()), restarts.eta_min, restarts.lr));
        prop_assert!(within(lr(cyclic.into()), cyclic.base_lr, cyclic.max_lr));
        let least = one_cycle.max_lr / one_cycle.div_factor / one_cycle.final_div_factor;
        prop_assert!(within(lr(one_cycle.into()), least, one_cycle.max_lr));
        let polynomial = Polynomial { power: 2.0, ..Polynomial::new(cosine.lr, cosine.t_max) };
        prop_assert!(within(lr(polynomial.into()), 0.0, cosine.lr));
        prop_assert!(within(lr(InverseSqrt::new(cosine.lr, cosine.t_max).into()), 0.0, cosine.lr));
    }

    #[test]
    fn what_is_continuous_has_no_jumps(
        cosine in cosine(),
        cyclic in cyclic_schedule(),
        one_cycle in one_cycle_schedule(),
        step in 0u64..200,
    ) {
        let pi_half = std::f64::consts::FRAC_PI_2;
        let slope = (cosine.lr - cosine.eta_min).abs() * pi_half / cosine.t_max as f64;
        let largest = cosine.lr.max(cosine.eta_min);
        prop_assert!(continuous(&cosine.into(), step, slope, largest));

        let cyclic = Cyclic { mode: CyclicMode::Triangular, ..cyclic };
        let shortest = cyclic.step_size_up.min(cyclic.step_size_down.unwrap_or(u64::MAX));
        let slope = (cyclic.max_lr - cyclic.base_lr) / shortest as f64;
        prop_assert!(continuous(&cyclic.into(), step, slope, cyclic.max_lr));

        // Its shortest phase: a phase is not a whole number of steps, so a step may see two slopes.
        let (total, up) = (one_cycle.total_steps as f64, one_cycle.pct_start * one_cycle.total_steps as f64 - 1.0);
        let down = total - 1.0 - if one_cycle.three_phase { 2.0 * up } else { up };
        if up >= 1.0 && down >= 1.0 {
            let slope = one_cycle.max_lr * pi_half * (1.0 / up).max(1.0 / down);
            prop_assert!(continuous(&one_cycle.into(), step, slope, one_cycle.max_lr));
        }
    }

    #[test]
    fn a_warm_up_ends_at_the_schedules_first_rate(
        inner in simple(), start in 0.0..=1.0, length in 1u64..100, after in any_step(),
    ) {
        let schedule = inner.clone().after_warm_up(start, length);
        prop_assert_eq!(schedule.lr(0).to_bits(), (start * inner.lr(0)).to_bits());
        prop_assert_eq!(schedule.lr(length).to_bits(), inner.lr(0).to_bits());
        if let Some(step) = length.checked_add(after) {
            prop_assert_eq!(schedule.lr(step).to_bits(), inner.lr(after).to_bits());
        }
        // Straight up to there.
        let slope = inner.lr(0) * (1.0 - start) / length as f64;
        for step in 0..length {
            prop_assert!(continuous(&schedule, step, slope, inner.lr(0)));
            prop_assert!(schedule.lr(step) <= schedule.lr(step + 1));
        }
        prop_assert_eq!(inner.clone().after_warm_up(start, 0).lr(after), inner.lr(after));
    }

    #[test]
    fn joined_schedules_begin_at_their_milestones(
        parts in proptest::array::uniform3(simple()), lengths in proptest::array::uniform2(1u64..50), k in 0u64..50,
    ) {
        let [a, b, c] = parts;
        let ends = [lengths[0], lengths[0] + lengths[1]];
        let joined = a.clone().then(ends[0], b.clone()).then(ends[1], c.clone());
        prop_assert!(joined.validate().is_ok());
        prop_assert_eq!(joined.lr(k % lengths[0]), a.lr(k % lengths[0]));
        prop_assert_eq!(joined.lr(ends[0] + k % lengths[1]), b.lr(k % lengths[1]));
        prop_assert_eq!(joined.lr(ends[1] + k), c.lr(k));
        prop_assert_eq!(joined.momentum(ends[1] + k), c.momentum(k));
    }

    #[test]
    fn factors_multiply(a in simple(), b in simple(), factor in 0.0..2.0, step in 0u64..100) {
        let product = a.clone().times(b.clone());
        let (x, y) = (a.lr(step), b.lr(step));
        prop_assert!(product.lr(step) == x * y || (x * y).is_nan());
        prop_assert_eq!(product.momentum(step), b.momentum(step).or(a.momentum(step)));
        prop_assert_eq!(a.clone().scaled(factor).momentum(step), a.momentum(step));
        if x.is_finite() {
            prop_assert_eq!(a.scaled(factor).lr(step), factor * x);
        }
    }

    /// However invalid, a schedule does not panic.
    #[test]
    fn nonsense_gives_a_number_or_nan(
        [x, y, z] in proptest::array::uniform3(any::<f64>()), [n, m] in proptest::array::uniform2(0u64..3), step in any_step(),
    ) {
        let cyclic = Cyclic { step_size_up: n, step_size_down: Some(m), gamma: z, ..Cyclic::new(x, y) };
        let one_cycle = OneCycle { pct_start: y, div_factor: z, three_phase: m == 1, ..OneCycle::new(x, n) };
        let nonsense: [Schedule; 11] = [
            Linear { lr: x, start_factor: y, end_factor: z, total_iters: n }.into(),
            Step { lr: x, step_size: n, gamma: y }.into(),
            Polynomial { lr: x, total_iters: n, power: y }.into(),
            InverseSqrt::noam(x, n, m).into(),
            CosineAnnealing { lr: x, t_max: n, eta_min: y }.into(),
            CosineAnnealingWarmRestarts { lr: x, t_0: n, t_mult: m, eta_min: y }.into(),
            cyclic.into(),
            one_cycle.into(),
            Sequential { schedules: vec![], milestones: vec![n, m, 1] }.into(),
            Sequential { schedules: vec![Constant::new(x).into(); 2], milestones: vec![5, n, m] }.into(),
            Product { schedules: vec![] }.into(),
        ];
        for schedule in nonsense {
            let _ = (schedule.lr(step), schedule.momentum(step), schedule.validate());
        }
    }
}

/// Periods whose sums and products are beyond a u64.
#[test]
fn periods_may_be_longer_than_any_run() {
    let end = u64::MAX;
    let cosine = Schedule::from(CosineAnnealing { lr: 1.0, t_max: end, eta_min: 0.1 });
    assert_eq!([cosine.lr(0), cosine.lr(end)], [1.0, 0.1]);
    assert!((cosine.lr(end / 2) - 0.55).abs() < 1e-12);
    let quarter = Schedule::from(CosineAnnealing::new(1.0, (1 << 63) + 1));
    assert!((quarter.lr(1 << 62) - 0.5).abs() < 1e-12);

    // The second period has 2⁶⁵ steps, a quarter of which are left to count.
    let restarts =
        CosineAnnealingWarmRestarts { t_mult: 4, ..CosineAnnealingWarmRestarts::new(1.0, 1 << 63) };
    let restarts = Schedule::from(restarts);
    assert_eq!(restarts.lr(1 << 63), 1.0);
    let expected = (1.0 + std::f64::consts::FRAC_PI_4.cos()) / 2.0;
    assert!((restarts.lr(end) - expected).abs() < 1e-12);

    let cyclic = Schedule::from(Cyclic { step_size_up: end, ..Cyclic::new(0.0, 1.0) });
    assert_eq!(cyclic.lr(end), 1.0);
    let one_cycle = Schedule::from(OneCycle { div_factor: 4.0, ..OneCycle::new(1.0, end) });
    assert_eq!([one_cycle.lr(0), one_cycle.lr(end)], [0.25, 0.25e-4]);
    assert_eq!(Schedule::from(Linear { end_factor: 0.5, ..Linear::new(1.0, end) }).lr(end), 0.5);
}

#[test]
fn a_closure_is_a_schedule_among_others() {
    let halved = Schedule::custom(|step| 0.5f64.powi(step as i32));
    let schedule = halved.clone().after_warm_up(0.5, 2).then(4, Constant::new(0.3)).scaled(2.0);
    let lrs: Vec<_> = (0..6).map(|step| schedule.lr(step)).collect();
    assert_eq!(lrs, [1.0, 1.5, 2.0, 1.0, 0.6, 0.6]);
    assert!(schedule.validate().is_ok());
    assert_eq!(halved, halved.clone());
    assert_ne!(halved, Schedule::custom(|_| 1.0));
    assert_eq!(format!("{halved:?}"), "Custom(Custom(..))");
    // What is no rate, the optimizer refuses, and names the group's hyperparameter.
    let mut optimizer =
        CpuOptimizer::<f32>::builder().group(SGD::default(), [("w", 1)]).build().expect("built");
    let grown = Schedule::from(Exponential::new(1.0, 10.0));
    let refused = optimizer.set_lr(0, grown.lr(1000)).expect_err("infinite").to_string();
    assert!(refused.contains("`lr`"), "{refused}");
}

// Refusals.

#[test]
fn values_out_of_range_are_refused_by_name() {
    let cosine = CosineAnnealing::new(0.1, 10);
    let restarts = CosineAnnealingWarmRestarts::new(0.1, 10);
    let one_cycle = OneCycle::new(0.1, 10);
    let cyclic = Cyclic::new(0.1, 0.2);
    let constant = || Schedule::from(Constant::new(0.1));
    let bad = || Schedule::from(Constant::new(-1.0));
    let join = |schedules, milestones| Sequential { schedules, milestones }.into();
    let refused: Vec<(Schedule, &[&str])> = vec![
        (bad(), &["Constant", "`lr`", "at least 0", "-1"]),
        (Constant::new(f64::NAN).into(), &["`lr`", "NaN"]),
        (Constant { factor: -0.5, ..Constant::new(0.1) }.into(), &["`factor`"]),
        (Linear::new(0.1, 0).into(), &["Linear", "`total_iters`", "at least 1", "0"]),
        (Linear { start_factor: -1.0, ..Linear::new(0.1, 5) }.into(), &["`start_factor`"]),
        (Linear { end_factor: f64::INFINITY, ..Linear::new(0.1, 5) }.into(), &["`end_factor`"]),
        (Exponential::new(0.1, -0.9).into(), &["Exponential", "`gamma`", "-0.9"]),
        (Step::new(0.1, 0).into(), &["Step", "`step_size`", "at least 1"]),
        (MultiStep { gamma: f64::NAN, ..MultiStep::new(0.1, [1]) }.into(), &["`gamma`"]),
        (Polynomial::new(0.1, 0).into(), &["`total_iters`"]),
        (Polynomial { power: -1.0, ..Polynomial::new(0.1, 5) }.into(), &["`power`"]),
        (InverseSqrt::new(0.1, 0).into(), &["InverseSqrt", "`warmup_steps`"]),
        (InverseSqrt::noam(1.0, 0, 10).into(), &["`lr`", "inf"]),
        (CosineAnnealing { t_max: 0, ..cosine }.into(), &["CosineAnnealing", "`t_max`"]),
        (CosineAnnealing { eta_min: -1e-9, ..cosine }.into(), &["`eta_min`"]),
        (CosineAnnealingWarmRestarts { t_0: 0, ..restarts }.into(), &["`t_0`"]),
        (
            CosineAnnealingWarmRestarts { t_mult: 0, ..restarts }.into(),
            &["`t_mult`", "same length"],
        ),
        (OneCycle { total_steps: 0, ..one_cycle }.into(), &["OneCycle", "`total_steps`"]),
        (OneCycle { pct_start: 1.1, ..one_cycle }.into(), &["`pct_start`", "[0, 1]", "1.1"]),
        (OneCycle { div_factor: 0.0, ..one_cycle }.into(), &["`div_factor`", "above 0"]),
        (OneCycle { div_factor: 1e-320, ..one_cycle }.into(), &["`div_factor`", "finite"]),
        (OneCycle { final_div_factor: -1.0, ..one_cycle }.into(), &["`final_div_factor`"]),
        (OneCycle { max_momentum: 1.0, ..one_cycle }.into(), &["`max_momentum`", "[0, 1)"]),
        (
            OneCycle { base_momentum: 0.97, ..one_cycle }.into(),
            &["`max_momentum`", "base_momentum"],
        ),
        (Cyclic { max_lr: 0.05, ..cyclic }.into(), &["Cyclic", "`max_lr`", "`base_lr`"]),
        (Cyclic { step_size_up: 0, ..cyclic }.into(), &["`step_size_up`"]),
        (Cyclic { step_size_down: Some(0), ..cyclic }.into(), &["`step_size_down`"]),
        (Cyclic { gamma: 1.5, ..cyclic }.into(), &["`gamma`", "[0, 1]"]),
        (constant().after_warm_up(f64::NAN, 5), &["WarmUp", "`start_factor`"]),
        (bad().after_warm_up(0.1, 5), &["WarmUp, schedule: Constant", "`lr`"]),
        (constant().scaled(-1.0), &["Scaled", "`factor`"]),
        (constant().then(5, bad()), &["Sequential, schedules[1]: Constant", "`lr`"]),
        (constant().then(5, constant()).then(5, constant()), &["`milestones`", "[5, 5]", "larger"]),
        (constant().then(0, constant()), &["`milestones`", "above 0", "[0]"]),
        (join(vec![], vec![]), &["`milestones`", "0 for 0 schedules"]),
        (join(vec![constant()], vec![5]), &["`milestones`", "1 for 1 schedules", "one fewer"]),
        (Product { schedules: vec![] }.into(), &["Product", "`schedules`", "at least one"]),
        (constant().times(constant().scaled(f64::NAN)), &["Product, schedules[1]: Scaled", "NaN"]),
    ];
    for (schedule, words) in refused {
        let message = schedule.validate().expect_err("out of range").to_string();
        for word in words {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
    }
}

#[test]
fn a_plateau_out_of_range_is_refused_by_name() {
    let plateau = ReduceOnPlateau::new(0.1);
    assert!(plateau.validate().is_ok());
    for (plateau, parameter) in [
        (ReduceOnPlateau { lr: -1.0, ..plateau }, "`lr`"),
        (ReduceOnPlateau { factor: 1.0, ..plateau }, "`factor`"),
        (ReduceOnPlateau { threshold: -1.0, ..plateau }, "`threshold`"),
        (ReduceOnPlateau { threshold: 1.0, ..plateau }, "`threshold`"),
        (ReduceOnPlateau { min_lr: f64::NAN, ..plateau }, "`min_lr`"),
        (ReduceOnPlateau { eps: f64::INFINITY, ..plateau }, "`eps`"),
        (ReduceOnPlateau { best: Some(f64::NAN), ..plateau }, "`best`"),
    ] {
        let message = plateau.validate().expect_err("out of range").to_string();
        assert!(message.contains(parameter), "{message}");
    }
    let absolute = ThresholdMode::Abs;
    let large = ReduceOnPlateau { threshold: 5.0, threshold_mode: absolute, ..plateau };
    assert!(large.validate().is_ok());
}

#[test]
fn a_first_metric_counts_only_if_it_is_a_number_that_can_be_beaten() {
    let modes = [(PlateauMode::Min, f64::INFINITY), (PlateauMode::Max, f64::NEG_INFINITY)];
    for (mode, worst) in modes {
        let plateau = ReduceOnPlateau { mode, patience: 0, ..ReduceOnPlateau::new(0.1) };
        for metric in [worst, f64::NAN] {
            let mut bad = plateau;
            assert!(bad.observe(metric) < 0.1 && bad.best.is_none(), "{metric}");
        }
        let mut good = plateau;
        assert_eq!((good.observe(1.0), good.best), (0.1, Some(1.0)));
    }
}

#[test]
fn methods_make_what_the_fields_say() {
    let cosine = || Box::new(Schedule::from(CosineAnnealing::new(0.1, 10)));
    let warm = WarmUp { start_factor: 0.1, total_iters: 5, schedule: cosine() };
    assert_eq!(cosine().after_warm_up(0.1, 5), warm.into());
    assert_eq!(cosine().scaled(2.0), Scaled { factor: 2.0, schedule: cosine() }.into());
}

// Saving.

#[cfg(feature = "serde")]
mod saving {
    use super::*;

    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        let text = serde_json::to_string(value).expect("serialised");
        serde_json::from_str(&text).expect("deserialised")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_saved_schedule_keeps_its_bits(schedule in any_schedule(), step in any_step()) {
            let loaded = again(&schedule);
            // Rates are never -0 or NaN, so equal numbers are equal bits.
            prop_assert_eq!(&loaded, &schedule);
            prop_assert_eq!(loaded.lr(step).to_bits(), schedule.lr(step).to_bits());
        }
    }

    #[test]
    fn a_saved_plateau_goes_on_where_it_was() {
        for case in cases().iter().filter(|case| case.get("metrics").is_some()) {
            let lr = case["lr"].as_f64().expect("a rate");
            let mut plateau = plateau(&case["scheduler"][1], lr);
            for (metric, lr) in numbers(&case["metrics"]).into_iter().zip(numbers(&case["lrs"])) {
                plateau = again(&plateau); // before the first metric too, when there is no best one
                assert_eq!(difference(&[plateau.observe(metric)], &[lr]), None);
            }
        }
    }

    #[test]
    fn the_file_reads_as_the_code() {
        let cosine = CosineAnnealing { lr: 0.1, t_max: 90, eta_min: 0.001 };
        let text = serde_json::to_string(&Schedule::from(cosine).after_warm_up(0.01, 10));
        let expected = r#"{"WarmUp":{"start_factor":0.01,"total_iters":10,"schedule":{"CosineAnnealing":{"lr":0.1,"t_max":90,"eta_min":0.001}}}}"#;
        assert_eq!(text.expect("serialised"), expected);
    }

    #[test]
    fn a_closure_cannot_be_saved() {
        let schedule = Schedule::custom(|_| 0.1).after_warm_up(0.0, 5);
        let error = serde_json::to_string(&schedule).expect_err("a closure").to_string();
        assert!(error.contains("Custom"), "{error}");
        assert!(serde_json::from_str::<Schedule>(r#"{"Custom":null}"#).is_err());
    }
}
