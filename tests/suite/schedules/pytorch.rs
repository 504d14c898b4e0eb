//! Schedules give PyTorch's rates, which `tests/schedules/generate.py` computed.

use serde_json::{Map, Value};
use std::cell::RefCell;
use wgpu_optim::schedule::{
    AnnealStrategy, Constant, CosineAnnealing, CosineAnnealingWarmRestarts, Cyclic, CyclicMode,
    Exponential, InverseSqrt, Linear, MultiStep, OneCycle, PlateauMode, Polynomial, Product,
    ReduceOnPlateau, Schedule, Sequential, Step, ThresholdMode,
};

/// How far a rate may be from PyTorch's, relatively. It computes most rates from the one before, a
/// few roundings a step over at most 80 steps; 1e-14 was measured.
const RELATIVE: f64 = 1e-13;
/// And as a share of the case's largest rate: PyTorch's straight line ends at a difference of two
/// large numbers, which has their rounding error however small it is. (The smallest rates are a
/// millionth.)
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

pub fn plateau(settings: &Value, lr: f64) -> ReduceOnPlateau {
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

pub fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schedules/cases.json");
    let text = std::fs::read_to_string(path).expect("the cases");
    serde_json::from_str(&text).expect("JSON")
}

pub fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().expect("a list").iter();
    all.map(|number| number.as_f64().unwrap_or(f64::NAN)).collect()
}

/// Why two lists of rates are not the same, if they are not.
pub fn difference(found: &[f64], expected: &[f64]) -> Option<String> {
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
