//! Parameters: shapes, handles, what an optimizer lists, and moving between groups.

use crate::common::gpu::Gpu;
use crate::common::model::steps_taken;
use crate::common::random::Random;
use wgpu_optim::{
    Adam, AdamW, CpuOptimizer, GradScaler, NAdam, Optimizer, Param, Place, SGD, Shape,
};

#[test]
fn parameters_are_listed_with_their_shapes() {
    let gpu = Gpu::default();
    let sizes = vec![2usize, 3, 5];
    let mut optimizer = Optimizer::builder()
        .group(Adam::default(), [Param::new("matrix", [3, 4]), Param::new("vector", 7)])
        .group(SGD::default(), [("cube", Shape::from(sizes)), ("scalar", Shape::from([]))])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let listed: Vec<_> = optimizer
        .params()
        .map(|info| (info.name.to_owned(), info.shape.sizes().to_vec(), info.elements, info.group))
        .collect();
    assert_eq!(
        listed,
        [
            ("matrix".into(), vec![3, 4], 12, 0),
            ("vector".into(), vec![7], 7, 0),
            ("cube".into(), vec![2, 3, 5], 30, 1),
            ("scalar".into(), vec![], 1, 1),
        ]
    );
    assert_eq!(optimizer.params().len(), 4);
    let refused =
        optimizer.set_param("matrix", &[0.0; 11]).expect_err("one is missing").to_string();
    assert!(refused.contains("12 values") && refused.contains("[3, 4]"), "{refused}");
    let huge = optimizer.add_group(SGD::default(), [("huge", [usize::MAX, 3])]);
    assert!(huge.expect_err("more than memory").to_string().contains("`huge`"));
    assert_eq!(optimizer.params().len(), 4, "nothing was added");
    optimizer.set_frozen(&["cube".to_owned()], true).expect("known");
    assert!(optimizer.param_info("cube").expect("known").is_frozen);
}

#[test]
fn a_handle_is_as_good_as_a_name_and_no_other_optimizers() {
    let build =
        || CpuOptimizer::<f32>::builder().group(SGD::default(), [("a", 2), ("b", 3)]).build();
    let (mut one, other) = (build().expect("built"), build().expect("built"));
    let b = one.id("b").expect("known");
    assert_eq!(one.params().nth(1).expect("two").id, b);
    one.set_param(b, &[1.0, 2.0, 3.0]).expect("set");
    assert_eq!(one.param("b").expect("known"), one.param(b).expect("known"));
    let owned = "b".to_owned();
    assert_eq!(one.param(&owned).expect("known").to_vec(), [1.0, 2.0, 3.0]);
    let refused = one.set_param(other.id("b").expect("known"), &[0.0; 3]).expect_err("foreign");
    assert!(refused.to_string().contains("another optimizer"), "{refused}");
    assert!(one.id("c").is_err());
}

/// Slices of buffers, buffers with offsets, and whole buffers are places alike.
#[test]
fn a_place_is_a_buffer_an_offset_or_a_slice() {
    let gpu = Gpu::default();
    let [p, g] = [0, 1].map(|_| gpu.buffer(&[1.0; 64]));
    for param in [
        Param::new("w", 8).buffers(p.slice(64..96), g.slice(64..)),
        Param::new("w", 8).buffers((&p, 64), (&g, 64)),
    ] {
        let mut optimizer = Optimizer::builder()
            .group(SGD { lr: 0.5, ..Default::default() }, [param])
            .build(&gpu.device, &gpu.queue)
            .expect("built");
        optimizer.set_param("w", &[3.0; 8]).expect("set");
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        let all: Vec<_> = gpu.read(&p).into_iter().map(f32::from_bits).collect();
        assert_eq!((&all[15..17], &all[23..25]), (&[1.0, 2.5][..], &[2.5, 1.0][..]));
    }
    let short = Param::new("w", 9).buffers(p.slice(64..96), &g);
    let refused =
        Optimizer::builder().group(SGD::default(), [short]).build(&gpu.device, &gpu.queue);
    let refused = refused.expect_err("a slice of eight").to_string();
    assert!(refused.contains("36 bytes") && refused.contains("32 bytes"), "{refused}");
    let mut optimizer = Optimizer::builder()
        .group(SGD::default(), [Param::new("w", 8).buffers(&p, &g)])
        .group(SGD::default(), [("arena", 8)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let w = optimizer.id("w").expect("known");
    optimizer.set_buffers([(w, Place::new((&p, 128), (&g, 4)))]).expect("moved");
    let refused = optimizer.set_buffers([("arena", Place::new((&p, 0), (&g, 128)))]);
    assert!(refused.expect_err("it is in the arena").to_string().contains("`arena`"));
}

/// A parameter in another group goes on with its states, its count and the other group's numbers:
/// as if its own group's numbers had changed.
#[test]
fn a_parameter_that_changes_groups_keeps_its_states() {
    let gpu = Gpu::default();
    let (slow, fast) =
        (AdamW { lr: 1e-3, ..Default::default() }, AdamW { lr: 0.1, ..Default::default() });
    let scalers = [None, Some(GradScaler::constant(1.0))];
    for scaler in scalers {
        let build = |groups: [(AdamW, &[(&str, usize)]); 2]| {
            let mut builder = Optimizer::builder();
            for (rule, params) in groups {
                builder = builder.group(rule, params.iter().copied());
            }
            if let Some(scaler) = scaler {
                builder = builder.grad_scaler(scaler);
            }
            builder.build(&gpu.device, &gpu.queue).expect("built")
        };
        let mut moved = build([(slow, &[("a", 300), ("b", 5)]), (fast, &[("c", 7)])]);
        let mut renumbered = build([(slow, &[("a", 300), ("c", 7)]), (slow, &[("b", 5)])]);
        renumbered.set_rule(0, slow).expect("the same");
        let mut random = Random::new(6);
        for now in 0..6 {
            if now == 3 {
                moved.move_to_group(["b"], 1).expect("of one rule");
                renumbered.set_rule(1, fast).expect("of one rule");
                assert_eq!(moved.param_info("b").expect("known").group, 1);
                assert_eq!(steps_taken(&moved, "b"), 3);
            }
            for (name, len) in [("a", 300), ("b", 5), ("c", 7)] {
                let gradient = random.wide_vec(len, -2.0, 0.0);
                moved.set_grad(name, &gradient).expect("set");
                renumbered.set_grad(name, &gradient).expect("set");
            }
            for optimizer in [&mut moved, &mut renumbered] {
                let mut encoder = gpu.encoder();
                optimizer.step(&mut encoder).expect("recorded");
                gpu.submit(encoder);
            }
        }
        for name in ["a", "b"] {
            let read = |optimizer: &Optimizer| {
                let arrays = [
                    optimizer.read_param(name),
                    optimizer.read_state(name, "exp_avg"),
                    optimizer.read_state(name, "exp_avg_sq"),
                ];
                arrays.map(|array| array.and_then(|r| r.wait()).expect("read"))
            };
            assert!(read(&moved) == read(&renumbered), "{name}");
        }
    }
}

#[test]
fn a_group_of_another_rule_is_refused() {
    let mut optimizer = CpuOptimizer::<f64>::builder()
        .group(Adam::default(), [("a", 2)])
        .group(NAdam::default(), [("b", 2)])
        .group(Adam { amsgrad: true, ..Default::default() }, [("c", 2)])
        .build()
        .expect("built");
    for group in [1, 2] {
        let refused = optimizer.move_to_group(["a"], group).expect_err("other states").to_string();
        assert!(refused.contains("`a`") && refused.contains("rule and options"), "{refused}");
    }
    assert!(optimizer.move_to_group(["a"], 3).is_err());
    assert!(optimizer.move_to_group(["d"], 0).is_err());
    assert_eq!(optimizer.param_info("a").expect("known").group, 0);
}

/// What was a silent no-op is an `Err`.
#[test]
fn a_multiplier_before_any_group_is_refused() {
    let builder = CpuOptimizer::<f32>::builder().lr_multiplier(0.1);
    let refused = builder.group(SGD::default(), [("w", 1)]).build().expect_err("no group yet");
    assert!(refused.to_string().contains("`lr_multiplier`"), "{refused}");
}

/// Steps with an infinity are skipped without a loss scale.
#[test]
fn steps_with_bad_gradients_are_skipped_without_a_scaler() {
    let gpu = Gpu::default();
    let rule = Adam { lr: 0.1, ..Default::default() };
    let build = || Optimizer::builder().group(rule, [("w", 3)]);
    let mut found = build().skip_non_finite().build(&gpu.device, &gpu.queue).expect("built");
    let mut expected = build().build(&gpu.device, &gpu.queue).expect("built");
    let mut cpu = CpuOptimizer::<f32>::builder()
        .group(rule, [("w", 3)])
        .skip_non_finite()
        .build()
        .expect("built");
    for gradient in
        [[1.0, 2.0, 3.0], [1.0, f32::NAN, 0.0], [f32::INFINITY, 0.0, 0.0], [0.5, 1.0, -1.0]]
    {
        let is_good = gradient.iter().all(|g| g.is_finite());
        found.set_grad("w", &gradient).expect("set");
        cpu.set_grad("w", &gradient).expect("set");
        cpu.step().expect("stepped");
        let mut encoder = gpu.encoder();
        found.step(&mut encoder).expect("recorded");
        if is_good {
            expected.set_grad("w", &gradient).expect("set");
            expected.step(&mut encoder).expect("recorded");
        }
        gpu.submit(encoder);
    }
    let read =
        |optimizer: &Optimizer| optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
    assert_eq!(read(&found), read(&expected));
    let statistics = found.read_statistics().and_then(|r| r.wait()).expect("read");
    assert_eq!((statistics.skipped, statistics.parameters[0].steps, cpu.skipped()), (2, 2, 2));
    assert_eq!((statistics.loss_scale, statistics.next_loss_scale), (1.0, 1.0));
    assert!(found.loss_scale().is_err());
}

/// Statistics tell what is so before the first step, and right after a change.
#[test]
fn statistics_before_the_next_step() {
    let gpu = Gpu::default();
    let mut optimizer = Optimizer::builder()
        .group(Adam::default(), [("a", 3), ("b", 3)])
        .grad_scaler(GradScaler { init_scale: 8.0, ..Default::default() })
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let read = |optimizer: &Optimizer| {
        let found = optimizer.read_statistics().and_then(|r| r.wait()).expect("read");
        let steps: Vec<_> = found.parameters.iter().map(|parameter| parameter.steps).collect();
        (found.loss_scale, found.next_loss_scale, steps)
    };
    assert_eq!(read(&optimizer), (8.0, 8.0, vec![0, 0]));
    for _ in 0..3 {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
    }
    assert_eq!(read(&optimizer).2, [3, 3]);
    optimizer.set_frozen(["a"], true).expect("known");
    assert_eq!(read(&optimizer).2, [3, 3]);
    optimizer.set_steps("b", 500).expect("known");
    assert_eq!(read(&optimizer).2, [3, 500]);
    optimizer.add_group(Adam::default(), [("c", 1)]).expect("added");
    assert_eq!(read(&optimizer).2, [3, 500, 0]);
}

/// Engines whose gradients are in other memory in each step move them all: with handles nothing is
/// looked up by name, and nothing is allocated once the optimizer has moved as many before.
#[test]
fn moving_a_thousand_parameters_allocates_nothing() {
    const COUNT: usize = 1000;
    const LEN: u64 = 64;
    let gpu = Gpu::default();
    let [p, a, b] = [0, 1, 2].map(|_| gpu.buffer(&vec![0.0; COUNT * LEN as usize]));
    let place = |grad, index: usize| {
        let start = 4 * LEN * index as u64;
        Place::new((&p, start), (grad, start))
    };
    let param = |index: usize| {
        let start = 4 * LEN * index as u64;
        Param::new(format!("p{index}"), LEN as usize).buffers((&p, start), (&a, start))
    };
    let mut optimizer = Optimizer::builder()
        .group(SGD::default(), (0..COUNT).map(param))
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let ids: Vec<_> = optimizer.params().map(|info| info.id).collect();
    let mut moved = |grad| {
        let places = ids.iter().enumerate().map(|(index, id)| (id, place(grad, index)));
        optimizer.set_buffers(places).expect("moved");
    };
    moved(&b);
    moved(&a);
    let allocations = allocation_counter::measure(|| moved(&b));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
}
