//! `zero_grad` zeroes all gradients, those of frozen parameters too, on both engines.

use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name};
use wgpu_optim::{Builder, CpuOptimizer, Optimizer, Param, SGD, wgpu};

const RULE: SGD = SGD {
    lr: 1.0,
    momentum: 0.0,
    dampening: 0.0,
    weight_decay: 0.0,
    nesterov: false,
    maximize: false,
    keep_momentum_buffer: false,
};

fn zeroing(builder: Builder) -> Builder {
    builder.zero_grad()
}

/// Adds 1 to each gradient, as an engine does whose backward pass adds to what it finds.
fn accumulate(model: &mut Model) {
    for param in 0..model.lens.len() {
        let found = model.optimizer.read_grad(name(param)).and_then(|r| r.wait()).expect("read");
        let sums: Vec<_> = found.iter().map(|g| g + 1.0).collect();
        model.optimizer.set_grad(name(param), &sums).expect("set");
    }
}

fn step_in_pass(model: &mut Model) {
    let mut encoder = model.gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&Default::default());
    model.optimizer.step_in_pass(&mut pass).expect("recorded");
    drop(pass);
    model.gpu.submit(encoder);
}

/// Panics unless all gradients are 0 and each parameter has this value.
fn check(model: &Model, case: &str, expected: impl Fn(usize) -> f32) {
    for param in 0..model.lens.len() {
        let read = |reading: Result<wgpu_optim::Readback, _>| {
            reading.and_then(wgpu_optim::Readback::wait).expect("read")
        };
        let grads = read(model.optimizer.read_grad(name(param)));
        assert!(grads.iter().all(|g| g.to_bits() == 0), "{case}: the gradient of p{param}");
        let values = read(model.optimizer.read_param(name(param)));
        assert!(values.iter().all(|p| *p == expected(param)), "{case}: p{param}");
    }
}

/// An engine adds 1 in every step. A parameter that is frozen for four of six steps takes two of
/// −1, wherever it is and however it is reached, also one whose blocks the GPU lists.
#[test]
fn a_thawed_parameter_steps_by_its_latest_gradient_alone() {
    let lens = [1, 300, 5, 0, 1024, 257, 70_000];
    let large = [5 << 20, 3];
    let mut cases = vec![(Gpu::small_buffers(), Placement::Arena, &lens[..])];
    for gpu in [Gpu::default(), Gpu::small_bindings(), Gpu::adapter_limits()] {
        cases.extend(PLACEMENTS.map(|placement| (gpu, placement, &lens[..])));
    }
    cases.push((Gpu::default(), Placement::Arena, &large));
    for (gpu, placement, lens) in cases {
        let mut model = Model::with(gpu, RULE.into(), lens, placement, zeroing).expect("built");
        for (param, len) in lens.iter().enumerate() {
            model.optimizer.set_param(name(param), &vec![0.0; *len]).expect("set");
            model.optimizer.set_grad(name(param), &vec![0.0; *len]).expect("set");
        }
        let frozen = |param: usize| param.is_multiple_of(2);
        let names: Vec<_> = (0..lens.len()).filter(|&param| frozen(param)).map(name).collect();
        for now in 0..6 {
            let thawed = now == 0 || now == 5;
            model.optimizer.set_frozen(&names, !thawed).expect("known");
            accumulate(&mut model);
            if now % 2 == 0 {
                model.step();
            } else {
                step_in_pass(&mut model);
            }
            let taken = |param| if frozen(param) { 1 + now / 5 } else { now + 1 };
            let case = format!("{placement:?} of {} in step {now}", lens[0]);
            check(&model, &case, |param| -(taken(param) as f32));
        }
        model.check_canaries();
    }
}

/// The same on the CPU.
#[test]
fn the_twin_zeroes_frozen_gradients_too() {
    let mut twin = CpuOptimizer::<f32>::builder()
        .group(RULE, [("a", 3), ("b", 3)])
        .zero_grad()
        .build()
        .expect("built");
    for now in 0..6 {
        twin.set_frozen(["a"], (1..5).contains(&now)).expect("known");
        for name in ["a", "b"] {
            twin.grad_mut(name).expect("known").iter_mut().for_each(|g| *g += 1.0);
        }
        twin.step().expect("stepped");
        assert!(twin.grad_mut("a").expect("known").iter().all(|g| *g == 0.0));
    }
    assert_eq!(twin.param("a").expect("known").to_vec(), [-2.0; 3]);
    assert_eq!(twin.param("b").expect("known").to_vec(), [-6.0; 3]);
}

/// A gradient's buffer needs no usage but `STORAGE`, and one that was given up is not touched.
#[test]
fn zeroing_needs_no_copies_and_leaves_removed_buffers_alone() {
    let gpu = Gpu::default();
    let grads = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("gradients"),
        size: 64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    let mut mapped = grads.slice(..).get_mapped_range_mut().expect("mapped");
    mapped.copy_from_slice(bytemuck::cast_slice(&[1.0f32; 16]));
    drop(mapped);
    grads.unmap();
    let params = gpu.buffer(&[0.0; 16]);
    let param = |name: &str, at: u64| Param::new(name, 4).buffers((&params, at), (&grads, at));
    let mut optimizer = Optimizer::builder()
        .group(RULE, [param("steps", 0), param("frozen", 16), param("removed", 48)])
        .zero_grad()
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    optimizer.set_frozen(["frozen"], true).expect("known");
    optimizer.remove_buffers(["removed"]).expect("removed");
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    let (zero, one) = (0, 1f32.to_bits());
    let expected = [[zero; 4], [zero; 4], [one; 4], [one; 4]].concat();
    assert_eq!(gpu.read(&grads), expected);
}

/// A dispatch for the frozen, whatever their number; none where none is, or nothing is zeroed.
#[test]
fn frozen_gradients_take_one_dispatch_and_others_none() {
    for count in [2, 500] {
        let dispatches = |control: fn(Builder) -> Builder, frozen: usize| {
            let lens = vec![30; count];
            let model = Model::with(Gpu::default(), RULE.into(), &lens, Placement::Arena, control);
            let mut optimizer = model.expect("built").optimizer;
            optimizer.set_frozen((0..frozen).map(name), true).expect("known");
            optimizer.dispatches().expect("ready")
        };
        assert_eq!([0, count / 2, count].map(|frozen| dispatches(zeroing, frozen)), [1, 2, 1]);
        assert_eq!([0, count / 2, count].map(|frozen| dispatches(|b| b, frozen)), [1, 1, 0]);
    }
}
