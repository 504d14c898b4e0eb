//! Checkpoints in the core's format, and records: everything that decides how a run goes on is in
//! them, and what does not fit is refused.

use crate::common::{Bag, bits, changed, data, device, difference, register, values};
use crate::rules::every_rule;
use crate::states::steps;
use burn::module::{Param, ParamGroup, ParamId};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use serde_json::Value;
use wgpu_optim_burn::rules::{Adam, AdamW, Lion, NAdam};
use wgpu_optim_burn::wgpu_optim::CpuOptimizer;
use wgpu_optim_burn::{Error, Fuse, FusedConfig, FusedOptimizer};

/// How an optimizer's contents reach a new one.
type By = fn(&FusedOptimizer, FusedOptimizer) -> FusedOptimizer;

fn by_checkpoint(first: &FusedOptimizer, mut second: FusedOptimizer) -> FusedOptimizer {
    second.load_checkpoint_bytes(&first.checkpoint_bytes().unwrap()).unwrap();
    second
}

fn by_record(first: &FusedOptimizer, second: FusedOptimizer) -> FusedOptimizer {
    second.try_load_record(first.to_record()).unwrap()
}

const WAYS: [By; 2] = [by_checkpoint, by_record];

/// The same model with other ids, as a new process makes it.
fn renewed(model: &Bag) -> Bag {
    fn param<const D: usize>(
        param: &Param<burn::tensor::Tensor<D>>,
    ) -> Param<burn::tensor::Tensor<D>> {
        let values = burn::tensor::Tensor::from_data(param.val().into_data(), &device());
        Param::initialized(ParamId::new(), values.require_grad())
    }
    Bag { weights: model.weights.iter().map(param).collect(), bias: param(&model.bias) }
}

fn message(result: Result<(), Error>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn a_run_resumes_to_the_bit_with_other_ids() {
    for rule in every_rule() {
        let config = FusedConfig::new(rule).with_clip_grad_norm(0.7);
        let start = Bag::new(&device());
        let uninterrupted = steps(start.clone(), &mut config.init(), 0..6);
        let mut first = config.init();
        let model = renewed(&steps(start, &mut first, 0..3));
        let model = steps(model, &mut by_checkpoint(&first, config.init()), 3..6);
        assert_eq!(bits(&model), bits(&uninterrupted));
    }
}

#[test]
fn a_file_is_written_and_read() {
    let config = AdamConfig::new().fused();
    let start = Bag::new(&device());
    let uninterrupted = steps(start.clone(), &mut config.init(), 0..6);
    let (mut first, mut second) = (config.init(), config.init());
    let model = steps(start, &mut first, 0..3);
    let name = format!("wgpu-optim-burn-{}.safetensors", std::process::id());
    let path = std::env::temp_dir().join(name);
    first.save_checkpoint(&path).unwrap();
    second.load_checkpoint(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(bits(&steps(model, &mut second, 3..6)), bits(&uninterrupted));
    let message = message(second.load_checkpoint(&path));
    assert!(message.contains("a file that can be read"), "{message}");
}

/// NAdam's product of momenta depends on all momenta that there were.
#[test]
fn a_one_cycle_schedule_resumes_to_the_bit() {
    let go = |mut model: Bag, optimizer: &mut FusedOptimizer, range: std::ops::Range<usize>| {
        for step in range {
            let momentum = 0.95 - 0.02 * step as f64;
            let rule = NAdam { betas: (momentum, 0.999), ..Default::default() };
            optimizer.set_rule(0, rule).unwrap();
            model = steps(model, optimizer, step..step + 1);
        }
        model
    };
    let config = FusedConfig::new(NAdam::default());
    let start = Bag::new(&device());
    let uninterrupted = go(start.clone(), &mut config.init(), 0..6);
    let constant = steps(start.clone(), &mut config.init(), 0..6);
    assert_ne!(bits(&uninterrupted), bits(&constant), "the schedule matters");
    for by in WAYS {
        let mut first = config.init();
        let model = go(start.clone(), &mut first, 0..3);
        let mut second = by(&by(&first, config.init()), config.init());
        assert_eq!(bits(&go(model, &mut second, 3..6)), bits(&uninterrupted));
    }
}

#[test]
fn hyperparameters_come_along() {
    let config = FusedConfig::new(AdamW::default()).with_clip_grad_norm(1.0);
    let decaying = AdamW { weight_decay: 0.7, betas: (0.8, 0.95), ..Default::default() };
    for by in WAYS {
        let mut first = config.init();
        let model = steps(Bag::new(&device()), &mut first, 0..2);
        first.set_rule(0, decaying).unwrap();
        let mut second = by(&first, config.init());
        let goes_on = steps(model.clone(), &mut first, 2..5);
        assert_eq!(bits(&steps(model.clone(), &mut second, 2..5)), bits(&goes_on));
    }
}

#[test]
fn the_limit_of_clipping_comes_along() {
    let (tight, loose) = (AdamConfig::new().fused(), AdamConfig::new().fused());
    let (tight, loose) = (tight.with_clip_grad_norm(0.1), loose.with_clip_grad_norm(9.0));
    let mut first = tight.init();
    let model = steps(Bag::new(&device()), &mut first, 0..2);
    let mut second = by_checkpoint(&first, loose.init());
    let goes_on = steps(model.clone(), &mut first, 2..5);
    assert_eq!(bits(&steps(model, &mut second, 2..5)), bits(&goes_on));
}

#[test]
fn what_was_loaded_and_took_no_step_is_saved_again() {
    let config = AdamConfig::new().fused();
    let start = Bag::new(&device());
    let uninterrupted = steps(start.clone(), &mut config.init(), 0..6);
    for by in WAYS {
        let mut first = config.init();
        let model = steps(start.clone(), &mut first, 0..3);
        // Only the bias takes a step; the weights' states wait.
        let mut second = by(&first, config.init());
        let mut grads = GradientsParams::new();
        register(&mut grads, &model.bias, 39);
        let model = second.step(0.01, model, grads);
        assert_eq!(second.waiting(), ["weights.0", "weights.1", "weights.2"]);
        let mut third = by_checkpoint(&second, config.init());
        let mut grads = model.grads(3);
        grads.remove::<1>(model.bias.id);
        let model = third.step(0.01, model, grads);
        assert_eq!(third.waiting(), ["bias"]);
        assert_eq!(bits(&steps(model, &mut third, 4..6)), bits(&uninterrupted));
    }
}

/// The core's optimizer of a bag's parameters, by their paths.
fn of_the_core(model: &Bag, rule: Adam) -> CpuOptimizer<f32> {
    let params = [("weights.0", [3, 5]), ("weights.1", [3, 6]), ("weights.2", [3, 7])];
    let params = params.map(|(name, shape)| (name, shape.to_vec()));
    let params = params.into_iter().chain([("bias", vec![70])]);
    let params =
        params.map(|(name, shape)| wgpu_optim_burn::wgpu_optim::optimizer::Param::new(name, shape));
    let mut optimizer = CpuOptimizer::builder().group(rule, params).build().unwrap();
    for (name, values) in PATHS.into_iter().zip(values(model)) {
        optimizer.set_param(name, &values).unwrap();
    }
    optimizer
}

const PATHS: [&str; 4] = ["weights.0", "weights.1", "weights.2", "bias"];

#[test]
fn the_core_and_this_crate_read_each_others_files() {
    let rule = Adam { lr: 0.01, amsgrad: true, ..Default::default() };
    let config = FusedConfig::new(rule);
    let start = Bag::new(&device());
    let mut core = of_the_core(&start, rule);
    for step in 0..3 {
        let grads = start.grads(step);
        for (name, grad) in PATHS.into_iter().zip(start.grad_values(&grads)) {
            core.set_grad(name, &grad).unwrap();
        }
        core.step().unwrap();
    }
    let mut first = config.init();
    let model = steps(start, &mut first, 0..3);
    let mut second = config.init();
    second.load_checkpoint_bytes(&core.save().bytes().unwrap()).unwrap();
    let goes_on = steps(model.clone(), &mut first, 3..6);
    let difference = difference(&values(&steps(model, &mut second, 3..6)), &values(&goes_on));
    assert!(difference < 2e-6, "{difference}");
    core.load().without_params().bytes(&second.checkpoint_bytes().unwrap()).unwrap();
    assert_eq!(core.steps("bias").unwrap(), 6);
    let bytes = core.save().without_params().bytes().unwrap();
    let mut third = config.init();
    third.load_checkpoint_bytes(&bytes).unwrap();
    assert_eq!(third.checkpoint_bytes().unwrap(), second.checkpoint_bytes().unwrap());
}

/// A checkpoint of two steps, the model after them, and what wrote it.
fn saved(config: &FusedConfig) -> (Vec<u8>, Bag, FusedOptimizer) {
    let mut optimizer = config.init();
    let model = steps(Bag::new(&device()), &mut optimizer, 0..2);
    (optimizer.checkpoint_bytes().unwrap(), model, optimizer)
}

/// The bytes with another text of settings.
fn with_settings(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    let text = &mut header["__metadata__"]["wgpu_optim"];
    let mut settings = serde_json::from_str(text.as_str().unwrap()).unwrap();
    change(&mut settings);
    *text = Value::String(settings.to_string());
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[end..]].concat()
}

#[test]
fn hostile_bytes_are_refused_and_nothing_changes() {
    let config = AdamConfig::new().fused();
    let (bytes, model, mut optimizer) = saved(&config);
    let goes_on = steps(model.clone(), &mut optimizer.clone(), 2..4);
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for end in (0..bytes.len()).step_by(7) {
        optimizer.load_checkpoint_bytes(&bytes[..end]).expect_err("truncated");
    }
    for at in (data..bytes.len()).step_by(5) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        optimizer.load_checkpoint_bytes(&flipped).expect_err("damaged");
    }
    // A header may be another valid one: no panic is all that there is to ask.
    for at in 0..data {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        drop(config.init().load_checkpoint_bytes(&flipped));
    }
    let later = with_settings(&bytes, |settings| settings["version"] = 2.into());
    let message = message(optimizer.load_checkpoint_bytes(&later));
    assert!(message.contains("version 2"), "{message}");
    let frozen = with_settings(&bytes, |settings| settings["frozen"] = ["bias"].as_slice().into());
    optimizer.load_checkpoint_bytes(&frozen).expect_err("frozen");
    let divided = with_settings(&bytes, |settings| settings["control"]["micro_batches"] = 4.into());
    optimizer.load_checkpoint_bytes(&divided).expect_err("divided");
    assert_eq!(bits(&steps(model, &mut optimizer, 2..4)), bits(&goes_on));
}

#[test]
fn a_shape_that_the_file_cannot_hold_takes_no_memory() {
    let (bytes, model, mut first) = saved(&SgdConfig::new().fused());
    let huge = with_settings(&bytes, |settings| {
        settings["parameters"][0]["shape"] = [1u64 << 50].as_slice().into();
    });
    let mut optimizer = SgdConfig::new().init_fused();
    optimizer.load_checkpoint_bytes(&huge).unwrap();
    optimizer.checkpoint_bytes().unwrap();
    assert_eq!(
        bits(&steps(model.clone(), &mut optimizer, 2..4)),
        bits(&steps(model, &mut first, 2..4))
    );
}

#[test]
fn another_rule_and_other_options_are_refused_at_once() {
    let (bytes, _, optimizer) = saved(&AdamConfig::new().fused());
    let message =
        message(AdamConfig::new().with_amsgrad(true).init_fused().load_checkpoint_bytes(&bytes));
    assert!(message.contains("max_exp_avg_sq"), "{message}");
    let lion = FusedConfig::new(Lion::default()).init();
    let error = lion.try_load_record(optimizer.to_record()).expect_err("refused").to_string();
    assert!(error.contains("the rule lion") && error.contains("adam"), "{error}");
    let clipped = AdamConfig::new().fused().with_clip_grad_norm(1.0).init();
    clipped.try_load_record(optimizer.to_record()).expect_err("refused");
    let scaler = wgpu_optim_burn::wgpu_optim::GradScaler::default();
    let core = CpuOptimizer::<f32>::builder().group(Adam::default(), [("bias", 70)]);
    let bytes = core.grad_scaler(scaler).build().unwrap().save().bytes().unwrap();
    let mut adam = FusedConfig::new(Adam::default()).init();
    let error = adam.load_checkpoint_bytes(&bytes).expect_err("refused").to_string();
    assert!(error.contains("loss scale"), "{error}");
}

#[test]
fn a_record_that_lacks_something_is_refused_at_once() {
    let config = FusedConfig::new(NAdam::default());
    let mut first = config.init();
    steps(Bag::new(&device()), &mut first, 0..2);
    let refused = |number: &str, array: &str| {
        let (number, array) = (number.to_owned(), array.to_owned());
        let has_all = |name: &str, lacks: &str| lacks.is_empty() || !name.ends_with(lacks);
        let record = changed(
            first.to_record(),
            |name| has_all(name, &number),
            |name| has_all(name, &array),
            |_| true,
        );
        config.init().try_load_record(record).expect_err("refused").to_string()
    };
    let message = refused("", ".exp_avg_sq");
    assert!(message.contains("exp_avg_sq"), "{message}");
    let message = refused(".mu_product", "");
    assert!(message.contains("mu_product"), "{message}");
}

#[test]
fn a_model_of_other_shapes_is_refused_and_the_states_stay() {
    let config = AdamConfig::new().fused();
    let (bytes, model, mut first) = saved(&config);
    let mut second = config.init();
    second.load_checkpoint_bytes(&bytes).unwrap();
    let mut other = renewed(&model);
    other.bias = crate::common::parameter([71], 1, &device());
    let before = bits(&other);
    let grads = other.grads(2);
    let refused = second.try_step(0.01, other, grads).expect_err("refused");
    assert_eq!(
        refused.error.to_string(),
        "parameter `bias`: expected states of the parameter's shape [71], found states of shape \
         [70] in what was loaded. Load what an optimizer of the same rule, options and model saved"
    );
    assert_eq!(bits(&refused.module), before);
    let goes_on = steps(model.clone(), &mut first, 2..4);
    assert_eq!(bits(&steps(model, &mut second, 2..4)), bits(&goes_on));
}

#[test]
fn a_model_of_which_nothing_was_loaded_is_refused() {
    let config = AdamConfig::new().fused();
    let (_, model, first) = saved(&config);
    let other = renewed(&model);
    let grads = other.grads(2);
    let mut second = by_record(&first, config.init());
    let refused = second.try_step(0.01, other, grads).expect_err("refused").to_string();
    assert!(refused.contains("by id") && refused.contains("save_checkpoint"), "{refused}");
    let alone = crate::common::parameter([3], 1, &device());
    let mut grads = GradientsParams::new();
    register(&mut grads, &alone, 1);
    let mut second = by_checkpoint(&first, config.init());
    let refused = second.try_step(0.01, alone, grads).expect_err("refused").to_string();
    assert!(refused.contains("by path"), "{refused}");
}

#[test]
fn parameters_of_the_same_path_are_refused_by_name() {
    let mut optimizer = AdamConfig::new().init_fused();
    for _ in 0..2 {
        steps(Bag::new(&device()), &mut optimizer, 0..1);
    }
    let message = message(optimizer.checkpoint_bytes().map(drop));
    assert!(message.contains("two parameters of this path"), "{message}");
    assert!(optimizer.try_to_record().is_ok());
}

#[test]
fn a_state_without_an_id_is_in_no_record() {
    let config = AdamConfig::new().fused();
    let (bytes, ..) = saved(&config);
    let mut second = config.init();
    second.load_checkpoint_bytes(&bytes).unwrap();
    let refused = second.try_to_record().expect_err("refused").to_string();
    assert!(refused.contains("save_checkpoint"), "{refused}");
    assert_eq!(second.clone().checkpoint_bytes().unwrap(), second.checkpoint_bytes().unwrap());
}

#[test]
fn an_optimizer_without_states_is_saved_and_loaded() {
    let config = AdamConfig::new().fused();
    for by in WAYS {
        let mut optimizer = by(&config.init(), config.init());
        let model = steps(Bag::new(&device()), &mut optimizer, 0..1);
        assert!(data(model.bias.val()).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn a_rule_that_is_not_the_groups_is_refused() {
    let config = AdamConfig::new().fused();
    let (_, model, mut optimizer) = saved(&config);
    let goes_on = steps(model.clone(), &mut optimizer.clone(), 2..4);
    let adam = Adam::default();
    optimizer.set_rule(1, adam).expect_err("no such group");
    optimizer.set_rule(0, Lion::default()).expect_err("another rule");
    optimizer.set_rule(0, Adam { amsgrad: true, ..adam }).expect_err("other options");
    // The same before there is anything on the device.
    config.init().set_rule(0, Adam { amsgrad: true, ..adam }).expect_err("other options");
    optimizer.set_rule(0, Adam { eps: -1.0, ..adam }).expect_err("out of range");
    assert_eq!(bits(&steps(model, &mut optimizer, 2..4)), bits(&goes_on));
}

/// Groups by path, with hyperparameters of their own.
fn grouped() -> FusedConfig {
    let weights = AdamW { weight_decay: 0.5, ..Default::default() };
    let bias = AdamW { weight_decay: 0.0, betas: (0.5, 0.9), ..weights };
    FusedConfig::new(weights).with_group(ParamGroup::from_path("bias"), bias)
}

#[test]
fn groups_come_along() {
    let defaults = FusedConfig::new(AdamW::default())
        .with_group(ParamGroup::from_path("bias"), AdamW::default());
    for by in WAYS {
        let mut first = grouped().init();
        let model = steps(Bag::new(&device()), &mut first, 0..2);
        let mut second = by(&first, defaults.init());
        let goes_on = steps(model.clone(), &mut first, 2..5);
        assert_eq!(bits(&steps(model, &mut second, 2..5)), bits(&goes_on));
    }
}

#[test]
fn groups_that_are_one_here_are_refused_by_name() {
    let (bytes, ..) = saved(&grouped());
    let mut one = FusedConfig::new(AdamW::default()).init();
    let message = message(one.load_checkpoint_bytes(&bytes));
    assert!(message.contains("the hyperparameters of `") && message.contains("bias"), "{message}");
}

/// A checkpoint knows no ids, so that which group a parameter is of is seen at its step.
#[test]
fn a_group_by_id_is_refused_at_the_first_step() {
    let config = FusedConfig::new(AdamW::default());
    let (bytes, model, first) = saved(&config);
    let bias = ParamGroup::from_ids(vec![model.bias.id]);
    let by_id = config.clone().with_group(bias, AdamW::default());
    let mut second = by_id.init();
    second.load_checkpoint_bytes(&bytes).unwrap();
    let grads = model.grads(2);
    let refused = second.try_step(0.01, model, grads).expect_err("refused");
    assert!(refused.to_string().contains("make groups by path"), "{refused}");
    // A record does.
    let goes_on = steps(refused.module.clone(), &mut first.clone(), 2..4);
    let mut third = by_id.init().try_load_record(first.to_record()).unwrap();
    assert_eq!(bits(&steps(refused.module, &mut third, 2..4)), bits(&goes_on));
}
