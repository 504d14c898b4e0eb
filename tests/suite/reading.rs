//! Reading many arrays at once, and hyperparameters by their type.

use crate::common::gpu::Gpu;
use wgpu_optim::{Adam, AdamW, CpuOptimizer, Optimizer, Param, SGD, wgpu};

/// A device of its own, whose submissions no other test makes.
fn built(gpu: &Gpu) -> Optimizer {
    let params = gpu.buffer(&[3.0; 8]);
    let grads = gpu.buffer(&[0.0; 8]);
    let placed = Param::new("b", 5).buffers((&params, 4), (&grads, 4));
    let mut optimizer = Optimizer::builder()
        .group(Adam::default(), [Param::new("a", 300), placed, Param::new("empty", 0)])
        .group(SGD::default(), [("c", 7)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    optimizer.set_param("a", &[2.0; 300]).expect("set");
    optimizer.set_param("c", &[5.0; 7]).expect("set");
    optimizer.set_state("a", "exp_avg", &[0.5; 300]).expect("set");
    optimizer
}

#[test]
fn many_arrays_are_read_in_one_submission() {
    let gpu = Gpu::new(wgpu::Limits::default());
    let optimizer = built(&gpu);
    let ids: Vec<_> = optimizer.params().map(|param| param.id).collect();
    let before = gpu.submissions();
    let params = optimizer.read_params(&ids).expect("started");
    // wgpu gives a number to each buffer that is mapped too, of which there is one, and to the
    // submission that tells.
    let told = |reads: u64| before + 2 * reads;
    assert_eq!(gpu.submissions(), told(1) + 1);
    let expected = [vec![2.0; 300], vec![3.0; 5], Vec::new(), vec![5.0; 7]];
    assert_eq!(params.wait().expect("read"), expected);
    let states = optimizer.read_states(["b", "empty", "a"], "exp_avg").expect("started");
    assert_eq!(gpu.submissions(), told(2) + 2);
    let expected = [vec![0.0; 5], Vec::new(), vec![0.5; 300]];
    assert_eq!(states.wait().expect("read"), expected);

    let none = optimizer.read_params(Vec::<&str>::new()).and_then(|r| r.wait()).expect("read");
    assert!(none.is_empty());
    let refused = [
        optimizer.read_params(["a", "x"]).map(|_| ()),
        optimizer.read_states(["a", "c"], "exp_avg").map(|_| ()),
    ];
    for (result, words) in refused.into_iter().zip([["`x`", "name"], ["`c`", "`exp_avg`"]]) {
        let message = result.expect_err("refused").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    assert_eq!(gpu.submissions(), told(2) + 3, "what is refused submits nothing");
}

/// Code that is to run in browsers too awaits an optimizer; elsewhere it is there at once.
#[test]
fn building_may_be_awaited() {
    let Gpu { device, queue } = Gpu::default();
    let build = |lr| {
        let rule = Adam { lr, ..Default::default() };
        let builder = Optimizer::builder().group(rule, [("w", 2)]);
        pollster::block_on(builder.build_async(device, queue))
    };
    assert_eq!(build(0.5).expect("built").groups(), 1);
    let refused = build(-1.0).expect_err("refused").to_string();
    assert!(refused.contains("`lr`"), "{refused}");
}

/// A group's rule is found by its type, and changed in part: what is not named stays.
#[test]
fn a_rule_is_found_by_its_type_and_changed_in_part() {
    let rule = AdamW { betas: (0.8, 0.9), ..Default::default() };
    let builder = CpuOptimizer::<f32>::builder().group(rule, [("w", 2)]);
    let mut optimizer = builder.build().expect("built");
    optimizer.set_lr(0, 3e-4).expect("set");
    optimizer.update_rule(0, |rule: &mut AdamW| rule.weight_decay = 0.25).expect("of its type");
    let found = optimizer.rule(0).expect("a group").downcast_ref::<AdamW>().copied();
    assert_eq!(found, Some(AdamW { lr: 3e-4, weight_decay: 0.25, ..rule }));
    assert!(optimizer.rule(0).expect("a group").downcast_ref::<Adam>().is_none());

    let refused = [
        optimizer.update_rule(0, |rule: &mut Adam| rule.lr = 1.0),
        optimizer.update_rule(1, |rule: &mut AdamW| rule.lr = 1.0),
        optimizer.update_rule(0, |rule: &mut AdamW| rule.lr = f64::NAN),
        optimizer.update_rule(0, |rule: &mut AdamW| rule.amsgrad = true),
    ];
    let words = [["group 0", "`adam`", "`adamw`"], ["group 1", "below 1", "0"]];
    let words = words.into_iter().chain([["`lr`", "NaN", "AdamW"], ["group 0", "amsgrad", "true"]]);
    for (result, words) in refused.into_iter().zip(words) {
        let message = result.expect_err("refused").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    assert_eq!(optimizer.rule(0).expect("a group").lr(), 3e-4);
}
