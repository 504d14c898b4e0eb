//! Parameters that change places with their averages.

use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name};
use crate::common::random::Random;
use wgpu_optim::{
    Adam, Average, CpuOptimizer, Error, Modifiers, Optimizer, Rounding, SGD, Storage,
};

const LENS: [usize; 4] = [1, 67, 1025, 256];

fn averaging() -> Modifiers {
    Modifiers { average: Some(Average::ema(0.5)), ..Modifiers::default() }
}

fn swap(model: &mut Model) {
    let mut encoder = model.gpu.encoder();
    model.optimizer.swap_average(&mut encoder).expect("recorded");
    model.gpu.submit(encoder);
}

/// A model that took a step.
fn stepped(storage: &Storage, placement: Placement) -> Model {
    let rule = averaging().on(Adam { lr: 0.1, ..Default::default() });
    let stored = |builder: wgpu_optim::Builder| builder.storage("*", storage.clone());
    let model = Model::with(Gpu::default(), rule, &LENS, placement, stored);
    let mut model = model.expect("built");
    model.randomize(&mut Random::new(3), -1.0, 0.0);
    let mut random = Random::new(5);
    let grads: Vec<_> = LENS.iter().map(|&len| random.wide_vec(len, -2.0, 0.0)).collect();
    model.set_grads(&grads);
    model.step();
    model
}

/// The bits of what all parameters stand for, and of their averages.
fn exact(model: &Model) -> [Vec<u32>; 2] {
    let bits = |index: usize, average: bool| {
        let read = match average {
            true => model.optimizer.read_state(name(index), "average"),
            false => model.optimizer.read_exact(name(index)),
        };
        read.and_then(|r| r.wait()).expect("read").into_iter().map(f32::to_bits)
    };
    [false, true].map(|average| (0..LENS.len()).flat_map(|i| bits(i, average)).collect())
}

fn check(storage: &Storage, placement: Placement) {
    let mut model = stepped(storage, placement);
    let [params, averages] = exact(&model);
    assert!(params != averages);
    let all = model.bits();
    swap(&mut model);
    assert!(exact(&model) == [averages, params], "{storage:?} {placement:?}");
    swap(&mut model);
    assert!(model.bits() == all, "{storage:?} {placement:?}");
    model.check_canaries();
}

#[test]
fn parameters_and_averages_change_places_and_back_to_the_bit() {
    for placement in PLACEMENTS {
        check(&Storage::f32(), placement);
    }
    let masters = [
        Storage::bf16(Rounding::Remainder),
        Storage::bf16(Rounding::Master),
        Storage::f16(Rounding::Master),
    ];
    for storage in masters {
        check(&storage, Placement::Arena);
    }
}

#[test]
fn the_cpu_exchanges_alike() {
    for storage in [Storage::f32(), Storage::bf16(Rounding::Remainder)] {
        let mut cpu = CpuOptimizer::<f32>::builder()
            .group(averaging().on(SGD { lr: 0.25, ..Default::default() }), [("w", 3)])
            .storage("*", storage)
            .build()
            .expect("built");
        cpu.set_param("w", &[1.0, -2.0, 3.0]).expect("set");
        cpu.set_grad("w", &[1.0, 1.0, -1.0]).expect("set");
        cpu.step().expect("stepped");
        let arrays = |cpu: &CpuOptimizer<f32>| {
            let average = cpu.state("w", "average").expect("known").to_vec();
            [cpu.param("w").expect("known").to_vec(), average]
        };
        let [param, average] = arrays(&cpu);
        cpu.swap_average().expect("swapped");
        assert_eq!(arrays(&cpu), [average.clone(), param.clone()]);
        cpu.swap_average().expect("swapped");
        assert_eq!(arrays(&cpu), [param, average]);
    }
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("refused").to_string()
}

#[test]
fn steps_saving_and_loading_wait_for_the_parameters_themselves() {
    let mut model = stepped(&Storage::f32(), Placement::Arena);
    let saved = model.optimizer.save().bytes().expect("saved");
    let all = model.bits();
    swap(&mut model);
    let swapped = model.bits();
    let mut encoder = model.gpu.encoder();
    let optimizer = &mut model.optimizer;
    let refused = [
        refusal(optimizer.step(&mut encoder)),
        refusal(optimizer.begin_step()),
        refusal(optimizer.save().bytes()),
        refusal(optimizer.load().bytes(&saved)),
    ];
    model.gpu.submit(encoder);
    for message in refused {
        assert!(message.contains("Call `swap_average` once more"), "{message}");
    }
    assert!(model.bits() == swapped);
    swap(&mut model);
    assert!(model.bits() == all);
    model.step();
    assert!(model.bits() != all);
}

/// What took no step has no average, and what has none stays.
#[test]
fn parameters_without_an_average_stay() {
    let (gpu, rule) = (Gpu::default(), SGD { lr: 0.25, ..Default::default() });
    let mut optimizer = Optimizer::builder()
        .group(averaging().on(rule), [("a", 2), ("frozen", 2)])
        .group(rule, [("b", 2)])
        .group(averaging().on(Adam { lr: 0.25, eps: 0.0, ..Default::default() }), [("c", 2)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    for name in ["a", "frozen", "b", "c"] {
        optimizer.set_param(name, &[1.0, 2.0]).expect("set");
        optimizer.set_grad(name, &[1.0, 1.0]).expect("set");
    }
    optimizer.set_frozen(["frozen"], true).expect("known");
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    optimizer.swap_average(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    let read = |name| optimizer.read_param(name).and_then(|r| r.wait()).expect("read");
    let read_state =
        |name| optimizer.read_state(name, "average").and_then(|r| r.wait()).expect("read");
    assert_eq!(read("frozen"), [1.0, 2.0]);
    assert_eq!(read("b"), [0.75, 1.75]);
    assert_eq!(read("a"), [0.875, 1.875]);
    // Of another rule, with more states: its average is another array.
    let [c, state] = [read("c"), read_state("c")];
    assert!(c.iter().zip([0.875, 1.875]).all(|(x, near)| (x - near).abs() < 1e-6), "{c:?}");
    assert!(state.iter().zip([0.75, 1.75]).all(|(x, near)| (x - near).abs() < 1e-6), "{state:?}");
}

#[test]
fn an_exchange_that_is_none_or_could_not_be_undone_is_refused() {
    let mut none =
        CpuOptimizer::<f32>::builder().group(SGD::default(), [("w", 3)]).build().expect("built");
    assert!(refusal(none.swap_average()).contains("`Modifiers::average`"));
    for rounding in [Rounding::Nearest, Rounding::Kahan, Rounding::Stochastic { seed: 1 }] {
        let mut rounded = CpuOptimizer::<f32>::builder()
            .group(averaging().on(SGD::default()), [("w", 3)])
            .storage("*", Storage::bf16(rounding))
            .build()
            .expect("built");
        let message = refusal(rounded.swap_average());
        assert!(message.contains("`w`") && message.contains("Rounding::Master"), "{message}");
    }
}
