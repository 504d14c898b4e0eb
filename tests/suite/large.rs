//! Real sizes: beyond the default binding of 128 MiB, and beyond the default buffer of 256 MiB.

use crate::common::gpu::Gpu;
use crate::common::model::{Model, Placement, name};
use crate::common::random::Random;
use wgpu_optim::{LAMB, Optimizer, Param, SGD};

/// The elements at and around every place where something ends: windows, buffers, the parameter.
fn check(values: &[f32], expected: impl Fn(usize) -> f32) {
    for (i, &found) in values.iter().enumerate() {
        assert!(found == expected(i), "element {i}: {found} for {}", expected(i));
    }
}

/// Small numbers whose sums are exact, another at every element nearby.
fn pattern(i: usize) -> f32 {
    (i % 1021) as f32 - 500.0
}

#[test]
fn a_parameter_beyond_one_binding_and_one_buffer() {
    let gpu = Gpu::default();
    let len = (256 << 20) / 4 + 12_345;
    let mut optimizer = Optimizer::builder()
        .group(SGD { lr: 1.0, ..Default::default() }, [("w", len), ("b", 5)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    assert!(optimizer.param("w").expect("there").len() > 1, "more than one buffer");
    optimizer.set_param("w", &vec![0.5; len]).expect("set");
    let grads: Vec<_> = (0..len).map(pattern).collect();
    optimizer.set_grad("w", &grads).expect("set");
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    let found = optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
    assert_eq!(found.len(), len);
    check(&found, |i| 0.5 - pattern(i));
}

#[test]
fn a_callers_buffer_beyond_one_binding_at_an_odd_offset() {
    for gpu in [Gpu::default(), Gpu::adapter_limits()] {
        step_beyond_one_binding(gpu);
    }
}

fn step_beyond_one_binding(gpu: &Gpu) {
    let binding = gpu.device.limits().max_storage_buffer_binding_size;
    // Adapters with bindings of gigabytes have less room for a test than for a binding.
    let len = binding.min(128 << 20) as usize / 4 + 777;
    let mut values = vec![f32::MAX; len + 2];
    values[1..=len].fill(0.5);
    let params = gpu.buffer(&values);
    let grads: Vec<_> = (0..len).map(pattern).collect();
    let grads = gpu.buffer(&grads);
    let param = Param::new("w", len).buffers((&params, 4), &grads);
    let rule = SGD { lr: 1.0, momentum: 0.5, ..Default::default() };
    let mut optimizer =
        Optimizer::builder().group(rule, [param]).build(&gpu.device, &gpu.queue).expect("built");
    assert_eq!(optimizer.dispatches().expect("ready"), if binding > 128 << 20 { 1 } else { 2 });
    for _ in 0..2 {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
    }
    let found: Vec<f32> = gpu.read(&params).into_iter().map(f32::from_bits).collect();
    assert_eq!([found[0], found[len + 1]], [f32::MAX; 2], "neighbours");
    check(&found[1..=len], |i| 0.5 - 2.5 * pattern(i));
}

/// The host writes the table of a small model's blocks, the GPU that of a large one's, and no
/// tensor's step shows which.
#[test]
fn a_tensor_steps_alike_in_a_small_and_in_a_large_model() {
    let lens: Vec<_> = (0..300).map(|i| (i * i) % 1499).collect();
    for placement in [Placement::Arena, Placement::Pooled] {
        let [alone, among] = [0, 4 << 20].map(|more| three_steps(&lens, more, placement));
        let other = (0..lens.len()).find(|&i| alone[i] != among[i]);
        assert_eq!(other, None, "{placement:?}: a tensor of {:?} elements", other.map(|i| lens[i]));
    }
}

/// All bits after three steps of tensors of these lengths and one more, some of which miss a step,
/// so that their coefficients are others'.
fn three_steps(lens: &[usize], more: usize, placement: Placement) -> Vec<Vec<Vec<u32>>> {
    let rule = LAMB { lr: 0.1, weight_decay: 0.01, ..Default::default() };
    let lens = [lens, &[more]].concat();
    let mut model = Model::new(Gpu::default(), rule.into(), &lens, placement).expect("built");
    let late: Vec<_> = (0..lens.len()).step_by(3).map(name).collect();
    let mut random = Random::new(7);
    model.randomize(&mut random, -4.0, 4.0);
    for step in 0..3 {
        let late = late.iter().map(String::as_str);
        model.optimizer.set_frozen(late, step == 0).expect("frozen or thawed");
        // The last tensor's come last, and shift nobody else's random numbers.
        let mut random = Random::new(8 + step);
        let grads: Vec<_> = lens.iter().map(|&len| random.wide_vec(len, -4.0, 4.0)).collect();
        model.set_grads(&grads);
        model.step();
    }
    model.bits()
}
