//! Schedules of every kind, with any values that make sense.

use proptest::prelude::*;
use wgpu_optim::schedule::{
    AnnealStrategy, Constant, CosineAnnealing, CosineAnnealingWarmRestarts, Cyclic, CyclicMode,
    Exponential, InverseSqrt, Linear, MultiStep, OneCycle, Polynomial, Product, Schedule,
    Sequential, Step,
};

pub fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 8 => 1e-8..10.0, 1 => Just(1e300)]
}

pub fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 4 => 0.0..1.0, 1 => Just(1.0), 1 => 1.0..3.0]
}

/// Small numbers of steps, and all others.
pub fn steps() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1u64..50, 1 => 1u64..=u64::MAX, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)]
}

pub fn any_step() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..200, 2 => any::<u64>(), 1 => u64::MAX - 3..=u64::MAX]
}

pub fn cosine() -> impl Strategy<Value = CosineAnnealing> {
    (rate(), steps(), rate()).prop_map(|(lr, t_max, eta_min)| CosineAnnealing {
        lr,
        t_max,
        eta_min,
    })
}

pub fn warm_restarts() -> impl Strategy<Value = CosineAnnealingWarmRestarts> {
    let t_mult = prop_oneof![3 => 1u64..4, 1 => steps()];
    (rate(), steps(), t_mult, rate()).prop_map(|(lr, t_0, t_mult, eta_min)| {
        CosineAnnealingWarmRestarts { lr, t_0, t_mult, eta_min }
    })
}

pub fn cyclic_schedule() -> impl Strategy<Value = Cyclic> {
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

pub fn one_cycle_schedule() -> impl Strategy<Value = OneCycle> {
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

pub fn simple() -> impl Strategy<Value = Schedule> {
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
pub fn any_schedule() -> impl Strategy<Value = Schedule> {
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
