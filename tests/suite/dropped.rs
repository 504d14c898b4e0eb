//! Steps are recorded and nothing else: nothing is submitted or compiled after `build`, and
//! commands that are dropped, or submitted in another order, cost nothing but their own step.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use proptest::prelude::*;
use wgpu_optim::{Adam, AdamW, Builder, GradScaler, LAMB, NAdam, Optimizer, Param, Place, wgpu};

/// More than the host writes tables for: 4 Mi elements.
const LARGE: usize = (4 << 20) + 12_345;

/// A device of its own, since its counters count everyone's.
fn own_gpu() -> Gpu {
    Gpu::new(wgpu::Limits { max_storage_buffers_per_shader_stage: 8, ..wgpu::Limits::default() })
}

fn pipelines(gpu: &Gpu) -> isize {
    gpu.device.get_internal_counters().hal.compute_pipelines.read()
}

fn bits(optimizer: &Optimizer, names: &[&str], states: &[&str]) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for name in names {
        let mut arrays = vec![optimizer.read_param(*name)];
        arrays.extend(states.iter().map(|state| optimizer.read_state(*name, state)));
        for array in arrays {
            let values = array.and_then(|r| r.wait()).expect("read");
            all.push(values.iter().map(|x| x.to_bits()).collect());
        }
    }
    all
}

/// What a step is asked for, from nothing to everything.
const CONTROLS: [fn(Builder) -> Builder; 3] = [
    |builder| builder,
    |builder| builder.clip_grad_norm(1.0).skip_non_finite(),
    |builder| {
        let builder = builder.grad_scaler(GradScaler::constant(2.0)).clip_grad_value(0.5);
        builder.statistics().zero_grad()
    },
];

#[test]
fn nothing_is_submitted_or_compiled_after_build() {
    for control in CONTROLS {
        let gpu = own_gpu();
        let len = LARGE / 2;
        let buffers: Vec<_> = (0..4).map(|_| gpu.buffer(&vec![0.5; len + 64])).collect();
        let place = |pair: usize, start: u64| {
            Place::new((&buffers[2 * pair], start), (&buffers[2 * pair + 1], start))
        };
        let at = |pair: usize, start: u64| {
            ((&buffers[2 * pair], start), (&buffers[2 * pair + 1], start))
        };
        let param = |name: &str, pair: usize| {
            let (p, g) = at(pair, 0);
            Param::new(name, len).buffers(p, g)
        };
        let builder = Optimizer::builder()
            .group(LAMB::default(), [param("a", 0)])
            .group(LAMB { lr: 0.5, ..Default::default() }, [param("b", 1)]);
        let before = (gpu.submissions(), pipelines(&gpu));
        let mut optimizer = control(builder).build(&gpu.device, &gpu.queue).expect("built");
        let built = (gpu.submissions(), pipelines(&gpu));
        // To ask whether the queue is the device's own takes a number, and submits nothing.
        assert_eq!(built.0, before.0 + 2, "`build` submits nothing; the test did once");
        assert!(built.1 > before.1, "the counter counts");

        let changes: [&dyn Fn(&mut Optimizer); 9] = [
            &|_| {},
            &|optimizer| optimizer.set_frozen(["a"], true).expect("frozen"),
            &|optimizer| optimizer.set_frozen(["a"], false).expect("thawed"),
            &|optimizer| optimizer.set_buffers([("a", place(0, 4))]).expect("moved, unaligned"),
            &|optimizer| {
                // Parameter and gradient in one buffer.
                let half = Place::new((&buffers[0], 0), (&buffers[1], 16));
                optimizer.set_buffers([("a", half)]).expect("moved");
            },
            &|optimizer| optimizer.set_lr(0, 0.25).expect("in range"),
            &|optimizer| optimizer.set_micro_batches(4).expect("in range"),
            &|optimizer| optimizer.set_steps("b", 17).expect("known"),
            &|optimizer| optimizer.move_to_group(["b"], 0).expect("moved"),
        ];
        let mut submitted = built.0;
        for (index, change) in changes.iter().enumerate() {
            change(&mut optimizer);
            for _ in 0..2 {
                let mut encoder = gpu.encoder();
                let mut pass = encoder.begin_compute_pass(&Default::default());
                optimizer.step_in_pass(&mut pass).expect("recorded");
                drop(pass);
                drop(encoder);
            }
            submitted += 1;
            assert_eq!(gpu.submissions(), submitted, "change {index} submits");
            assert_eq!(pipelines(&gpu), built.1, "change {index} compiles");
        }
    }
}

/// The first step after a change writes tables and step counts. If it is dropped, the next one
/// does.
#[test]
fn a_dropped_step_leaves_a_large_model_whole() {
    let gpu = Gpu::default();
    for control in CONTROLS {
        let build = || {
            let builder = Optimizer::builder().group(Adam::default(), [("w", LARGE), ("b", 3)]);
            let mut optimizer = control(builder).build(&gpu.device, &gpu.queue).expect("built");
            let mut random = Random::new(3);
            optimizer.set_grad("w", &random.wide_vec(LARGE, -1.0, 1.0)).expect("set");
            optimizer.set_grad("b", &[0.5, 0.25, 0.125]).expect("set");
            optimizer
        };
        let names = ["w", "b"];
        let states = ["exp_avg", "exp_avg_sq"];
        let mut expected = build();
        let mut found = build();
        let counts_on_gpu = found.read_statistics().is_ok();
        for _ in 0..2 {
            let mut encoder = gpu.encoder();
            found.step(&mut encoder).expect("recorded");
            drop(encoder);
            if !counts_on_gpu {
                // The host counts what it records.
                found.set_steps("w", 0).expect("known");
                found.set_steps("b", 0).expect("known");
            }
        }
        for optimizer in [&mut expected, &mut found] {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).expect("recorded");
            gpu.submit(encoder);
        }
        assert!(bits(&expected, &names, &states) == bits(&found, &names, &states));
    }
}

/// Two steps of which the later is submitted first: where the GPU counts, they are two steps.
#[test]
fn steps_submitted_in_another_order_are_steps() {
    let gpu = Gpu::default();
    let run = |swap: bool| {
        let builder = Optimizer::builder().group(NAdam::default(), [("w", LARGE), ("b", 300)]);
        let builder = builder.clip_grad_norm(1.0).skip_non_finite();
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        let mut random = Random::new(4);
        for (name, len) in [("w", LARGE), ("b", 300)] {
            optimizer.set_param(name, &random.wide_vec(len, -1.0, 1.0)).expect("set");
            optimizer.set_grad(name, &random.wide_vec(len, -1.0, 1.0)).expect("set");
        }
        let mut record = || {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).expect("recorded");
            encoder
        };
        let (first, second) = (record(), record());
        let order = if swap { [second, first] } else { [first, second] };
        order.into_iter().for_each(|encoder| gpu.submit(encoder));
        bits(&optimizer, &["w", "b"], &["exp_avg", "exp_avg_sq"])
    };
    assert!(run(false) == run(true));
}

/// A change that only dropped steps carried is in no buffer of the device. Counts are read right
/// nevertheless, those that outgrew their buffer too.
#[test]
fn counts_are_read_while_no_step_has_brought_a_change() {
    let gpu = Gpu::default();
    for others in [1, 100] {
        let names: Vec<_> = (0..=others).map(|i| format!("p{i}")).collect();
        let params = names.iter().map(|name| (name.as_str(), 3));
        let builder = Optimizer::builder().group(Adam::default(), params).skip_non_finite();
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        for _ in 0..2 {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).expect("recorded");
            gpu.submit(encoder);
        }
        optimizer.set_frozen(["p0"], true).expect("known");
        for (name, steps) in names[2..].iter().zip(5..) {
            optimizer.set_steps(name, steps).expect("known");
        }
        for _ in 0..2 {
            optimizer.step(&mut gpu.encoder()).expect("recorded");
        }
        let expected: Vec<u64> = [2, 2].into_iter().chain(5..).take(names.len()).collect();
        assert_eq!(optimizer.read_steps().and_then(|r| r.wait()).expect("read"), expected);
        let statistics = optimizer.read_statistics().and_then(|r| r.wait()).expect("read");
        let found: Vec<_> = statistics.parameters.iter().map(|p| u64::from(p.steps)).collect();
        assert_eq!(found, expected);
    }
}

/// One thing that happens to an optimizer.
#[derive(Debug, Clone)]
enum Event {
    Step,
    /// A step whose commands are dropped.
    Dropped,
    Freeze(usize, bool),
    SetSteps(usize, u64),
    Regroup(usize, usize),
    SetLr(usize, f64),
    Add,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Step),
        3 => Just(Event::Dropped),
        4 => (0usize..4, any::<bool>()).prop_map(|(param, frozen)| Event::Freeze(param, frozen)),
        1 => (0usize..4, 0u64..9).prop_map(|(param, steps)| Event::SetSteps(param, steps)),
        2 => (0usize..4, 0usize..2).prop_map(|(param, group)| Event::Regroup(param, group)),
        1 => (0usize..2, 1e-3..1e-1f64).prop_map(|(group, lr)| Event::SetLr(group, lr)),
        1 => Just(Event::Add),
    ];
    prop::collection::vec(event, 1..24)
}

/// The parameters after some events, with dropped steps, or as if they had never been recorded.
fn after(events: &[Event], records_dropped: bool) -> Vec<Vec<u32>> {
    let gpu = Gpu::default();
    let rule = AdamW { lr: 0.01, ..Default::default() };
    let builder = Optimizer::builder()
        .group(rule, [("p0", 700), ("p1", 3)])
        .group(AdamW { lr: 0.05, ..rule }, [("p2", 256), ("p3", 1)])
        .skip_non_finite();
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    let mut names: Vec<String> = (0..4).map(|i| format!("p{i}")).collect();
    let mut random = Random::new(8);
    for info in optimizer.params().map(|info| (info.id, info.elements)).collect::<Vec<_>>() {
        optimizer.set_param(info.0, &random.wide_vec(info.1, -1.0, 1.0)).expect("set");
        optimizer.set_grad(info.0, &random.wide_vec(info.1, -1.0, 1.0)).expect("set");
    }
    for event in events {
        match event {
            Event::Step => {
                let mut encoder = gpu.encoder();
                optimizer.step(&mut encoder).expect("recorded");
                gpu.submit(encoder);
            }
            Event::Dropped if records_dropped => {
                optimizer.step(&mut gpu.encoder()).expect("recorded");
            }
            Event::Dropped => {}
            Event::Freeze(param, frozen) => {
                optimizer.set_frozen([&names[*param]], *frozen).expect("known");
            }
            Event::SetSteps(param, steps) => {
                optimizer.set_steps(&names[*param], *steps).expect("known");
            }
            Event::Regroup(param, group) => {
                optimizer.move_to_group([&names[*param]], *group).expect("of one rule");
            }
            Event::SetLr(group, lr) => optimizer.set_lr(*group, *lr).expect("in range"),
            Event::Add => {
                // Enough that the step counts outgrow their buffer when they part.
                let group = optimizer.groups();
                let new: Vec<_> = (0..70).map(|i| (format!("g{group} p{i}"), 2)).collect();
                optimizer.add_group(rule, new.clone()).expect("added");
                for (index, (name, len)) in new.into_iter().enumerate() {
                    optimizer.set_grad(&name, &vec![0.5; len]).expect("set");
                    optimizer.set_steps(&name, index as u64).expect("known");
                    names.push(name);
                }
            }
        }
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    bits(&optimizer, &names[..4.min(names.len())], &["exp_avg", "exp_avg_sq"])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    /// Where the GPU decides, a dropped step is as if it had never been recorded.
    #[test]
    fn dropped_steps_leave_no_trace(events in events()) {
        prop_assert!(after(&events, true) == after(&events, false));
    }
}
