//! Values that make no sense are refused by name.

use wgpu_optim::schedule::{
    Constant, CosineAnnealing, CosineAnnealingWarmRestarts, Cyclic, Exponential, InverseSqrt,
    Linear, MultiStep, OneCycle, PlateauMode, Polynomial, Product, ReduceOnPlateau, Scaled,
    Schedule, Sequential, Step, ThresholdMode, WarmUp,
};

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
