//! What schedules promise at any step.

use super::generated::*;
use proptest::prelude::*;
use wgpu_optim::schedule::{
    Constant, CosineAnnealing, CosineAnnealingWarmRestarts, Cyclic, CyclicMode, Exponential,
    InverseSqrt, Linear, OneCycle, Polynomial, Product, Schedule, Sequential, Step,
};
use wgpu_optim::{CpuOptimizer, SGD};

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
