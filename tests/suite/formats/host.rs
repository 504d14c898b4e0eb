//! Setting and reading stored arrays, and what is refused.

use super::model::{Model, Placement};
use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::{Adam, CpuOptimizer, Error, Format, Optimizer, Param, Rounding, SGD, Storage};

fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let text = result.err().expect("refused").to_string();
    for word in words {
        assert!(text.contains(word), "`{text}` lacks `{word}`");
    }
}

#[test]
fn storage_that_does_not_fit_is_refused() {
    let build = |storage: Storage| {
        let builder = CpuOptimizer::<f32>::builder().group(Adam::default(), [("w", 8)]);
        builder.storage("*", storage).build()
    };
    refused(build(Storage::f16(Rounding::Remainder)), &["`w`", "Remainder", "F16", "Kahan"]);
    let seed = Rounding::Stochastic { seed: 0 };
    refused(build(Storage::f16(seed)), &["`w`", "Stochastic", "bf16"]);
    refused(build(Storage::f32().grads(Format::Block8)), &["`w`", "gradient", "Only states"]);
    let unknown = Storage::f32().state("exp_avrg", Format::Bf16);
    refused(build(unknown), &["`w`", "`exp_avrg`", "exp_avg, exp_avg_sq"]);
}

#[test]
fn patterns_choose_and_small_tensors_keep_f32() {
    let gpu = Gpu::default();
    let eight = Storage::f32().states(Format::Block8);
    let own = Storage::bf16(Rounding::Nearest);
    let params = [
        Param::new("big", 5000),
        Param::new("small", 100),
        Param::new("embed.w", 5000),
        Param::new("own", 5000).storage(own),
    ];
    let mut optimizer = Optimizer::builder()
        .group(Adam::default(), params)
        .storage("embed.*", Storage::f32())
        .storage("*", eight)
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    // Patterns hold for what is added later, too.
    optimizer.add_group(Adam::default(), [("added", 5000)]).expect("added");
    let size = |param: &str| {
        let read = optimizer.read_state_bytes(param, "exp_avg_sq");
        read.and_then(|read| read.wait()).expect("read").len()
    };
    assert_eq!((size("big"), size("added")), (20 * 260, 20 * 260));
    assert_eq!(size("small"), 400);
    assert_eq!(size("embed.w"), 20_000);
    assert_eq!(size("own"), 20_000);
    let bytes = |param: &str| optimizer.param(param).expect("there")[0].size();
    assert_eq!((bytes("own"), bytes("big")), (10_000, 20_000));
}

/// What is set is what the parameter stands for, to the bit where a master keeps it.
#[test]
fn setting_a_parameter_sets_what_is_kept_beside_it() {
    let gpu = Gpu::default();
    let mut random = Random::new(2);
    let values = random.wide_vec(1000, 1e-3, 1e3);
    let still = SGD { lr: 0.0, ..Default::default() };
    for rounding in [Rounding::Remainder, Rounding::Master] {
        let storage = Storage::bf16(rounding);
        let mut model = Model::new(gpu, &still, &storage, &[1000], Placement::Arena, |b| b);
        // Something else first, whose rest must not survive.
        model.optimizer.set_param("p0", &random.wide_vec(1000, 1e-3, 1e3)).expect("set");
        model.step();
        model.optimizer.set_param("p0", &values).expect("set");
        for _ in 0..2 {
            let read = model.optimizer.read_exact("p0").and_then(|read| read.wait());
            assert_eq!(read.expect("read"), values, "{rounding:?}");
            model.step();
        }
    }
}

/// A parameter that an engine writes by itself becomes its own master.
#[test]
fn a_parameter_written_elsewhere_is_its_own_master() {
    let gpu = Gpu::default();
    let rule = SGD { lr: 1e-3, ..Default::default() };
    let storage = Storage::bf16(Rounding::Master);
    let mut model = Model::new(gpu, &rule, &storage, &[600], Placement::Aligned, |b| b);
    model.set(0, &[vec![2.0; 600]]);
    model.set(1, &[vec![1.0; 600]]);
    model.step();
    let exact = |model: &Model| {
        model.optimizer.read_exact("p0").and_then(|read| read.wait()).expect("read")
    };
    assert_eq!(exact(&model), vec![2.0f32 - 1e-3; 600]);
    model.set(0, &[vec![-5.0; 600]]);
    model.step();
    assert_eq!(exact(&model), vec![-5.0f32 - 1e-3; 600]);
}

/// Half a word cannot be copied: the host's way says so, and the step's does not care.
#[test]
fn half_a_word_is_not_set_by_the_host() {
    let gpu = Gpu::default();
    let rule = SGD { lr: 1.0, ..Default::default() };
    let storage = Storage::bf16(Rounding::Nearest);
    let mut model = Model::new(gpu, &rule, &storage, &[3, 5], Placement::Packed, |b| b);
    refused(model.optimizer.set_param("p0", &[1.0; 3]), &["`p0`", "multiple of 4 bytes", "kernel"]);
    model.set(0, &[vec![1.0; 3], vec![2.0; 5]]);
    model.set(1, &[vec![0.5; 3], vec![0.25; 5]]);
    model.step();
    assert_eq!(model.param(0), [0.5; 3]);
    assert_eq!(model.param(1), [1.75; 5]);
    model.check_canaries();
}
