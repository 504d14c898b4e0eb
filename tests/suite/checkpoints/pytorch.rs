//! Runs of PyTorch's, stopped in the middle (`tests/checkpoints`), loaded and followed: in f64 on
//! the CPU to rounding, on the GPU to a few times PyTorch's own f32 error.

use crate::common::steps::Steps;
use crate::golden::{F32_FACTOR, F32_FLOOR, numbers};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use wgpu_optim::checkpoint::Loaded;
use wgpu_optim::optimizer::{Builder, Optimizer as AnyOptimizer, Param};
use wgpu_optim::{Cpu, DynRule, GradScaler, Hyperparameter, Real, rules};

const CASES: [&str; 14] = [
    "adadelta",
    "adagrad",
    "adam_amsgrad",
    "adamax",
    "adamw",
    "adamw_scaler",
    "nadam",
    "nadamw_one_cycle",
    "radam",
    "rmsprop_centered_momentum",
    "rprop",
    "sgd_dampening",
    "sgd_nesterov",
    "sgd_plain",
];

/// Steps after the checkpoint.
const STEPS: usize = 5;

/// The largest relative difference of an f64 run. NAdam's product is f32 in PyTorch's file, and in
/// its f64 run from there on.
const F64_TOLERANCE: f64 = 1e-12;
const NADAM_TOLERANCE: f64 = 1e-7;

pub fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/checkpoints/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("readable")
}

/// A case: the checkpoint, and what follows.
struct Case {
    name: &'static str,
    saved: Vec<u8>,
    after: Vec<u8>,
    groups: Vec<Map<String, Value>>,
    scaler: Option<GradScaler>,
    /// Each parameter's path and shape.
    params: BTreeMap<String, Vec<usize>>,
}

impl Case {
    fn read(name: &'static str) -> Self {
        let (saved, after) = (file(name), file(&format!("{name}.steps")));
        let (_, header) = SafeTensors::read_metadata(&saved).expect("a header");
        let metadata = header.metadata().clone().expect("metadata");
        let steps = SafeTensors::deserialize(&after).expect("safetensors");
        let param = |key: &str| {
            let path = key.strip_prefix("param.0.")?;
            Some((path.to_owned(), steps.tensor(key).expect("there").shape().to_vec()))
        };
        let params = steps.names().into_iter().filter_map(param).collect();
        // Other numbers than the file's, to see that these are taken.
        let scaler = metadata.get("scaler").map(|_| GradScaler::default());
        let groups = serde_json::from_str(&metadata["param_groups"]).expect("groups");
        Self { name, saved, after, groups, scaler, params }
    }

    /// The rule with PyTorch's options, and another learning rate.
    fn rule(&self) -> Box<dyn DynRule> {
        let class = self.name.split('_').next().expect("a class").trim_end_matches('w');
        let is_decoupled = self.groups[0].get("decoupled_weight_decay") == Some(&Value::Bool(true));
        let name = if class == "adam" && is_decoupled { "adamw" } else { class };
        let mut rule =
            rules::all().into_iter().find(|rule| rule.name() == name).expect("a rule of ours");
        for (name, hyperparameter) in rule.hyperparameters() {
            match (hyperparameter, self.groups[0].get(name)) {
                (Hyperparameter::Flag(flag), Some(Value::Bool(value))) => *flag = *value,
                (Hyperparameter::Number(number), Some(value)) if name == "momentum" => {
                    *number = value.as_f64().expect("a number");
                }
                _ => {}
            }
        }
        rule.set_lr(0.0625);
        rule
    }

    fn build<E: Steps>(&self) -> AnyOptimizer<E> {
        let mut builder = Builder::<E>::default();
        for group in &self.groups {
            let paths = group["params"].as_array().expect("paths");
            let param = |path: &Value| {
                let path = path.as_str().expect("a path");
                Param::new(path, self.params[path].clone())
            };
            builder = builder.group(self.rule(), paths.iter().map(param).collect::<Vec<_>>());
        }
        let mut optimizer = E::build(match self.scaler {
            Some(scaler) => builder.grad_scaler(scaler),
            None => builder,
        });
        let steps = SafeTensors::deserialize(&self.after).expect("safetensors");
        for path in self.params.keys() {
            let start: Vec<f32> = numbers(&steps, &format!("param.0.{path}"));
            optimizer.set_param(path.as_str(), &elements::<E>(&start)).expect("set");
        }
        optimizer
    }

    /// Sets what PyTorch's schedule set, and gradients; parameters without one take no part.
    fn before<E: Steps>(&self, optimizer: &mut AnyOptimizer<E>, step: usize) {
        let steps = SafeTensors::deserialize(&self.after).expect("safetensors");
        let of = |key: &str| -> Vec<f64> { numbers(&steps, key) };
        let (lr, momentum) = (of("lr"), of("momentum"));
        for group in 0..self.groups.len() {
            let at = step * self.groups.len() + group;
            let mut rule = optimizer.rule(group).expect("there").boxed();
            for (name, hyperparameter) in rule.hyperparameters() {
                match hyperparameter {
                    Hyperparameter::Number(number) if name == "lr" => *number = lr[at],
                    Hyperparameter::Number(number) if name == "momentum" => *number = momentum[at],
                    Hyperparameter::Pair(pair) if name == "betas" => pair.0 = momentum[at],
                    _ => {}
                }
            }
            optimizer.set_rule(group, rule).expect("set");
        }
        let scale = optimizer.snapshot().expect("told").scaler.map_or(1.0, |scaler| scaler.scale);
        for path in self.params.keys() {
            let key = format!("grad.{}.{path}", step + 1);
            let takes_part = steps.tensor(&key).is_ok();
            optimizer.set_frozen([path.as_str()], !takes_part).expect("known");
            if takes_part {
                let grad: Vec<f32> = numbers(&steps, &key);
                let scaled: Vec<_> = grad.iter().map(|g| g * scale).collect();
                optimizer.set_grad(path.as_str(), &elements::<E>(&scaled)).expect("set");
            }
        }
    }

    /// Follows PyTorch: the largest difference of each step and parameter is held below what
    /// `bound` makes of PyTorch's own f32 error.
    fn follow<E: Steps>(
        &self,
        load: impl Fn(&mut AnyOptimizer<E>) -> Loaded,
        bound: impl Fn(f64) -> f64,
    ) {
        let steps = SafeTensors::deserialize(&self.after).expect("safetensors");
        let mut optimizer = self.build::<E>();
        let loaded = load(&mut optimizer);
        assert_eq!(loaded.parameters.len(), self.params.len(), "{}", self.name);
        for step in 0..STEPS {
            self.before(&mut optimizer, step);
            E::step(&mut optimizer);
            let saved = optimizer.save().bytes().expect("saved");
            let ours = SafeTensors::deserialize(&saved).expect("safetensors");
            for path in self.params.keys() {
                let exact: Vec<f64> = numbers(&steps, &format!("exact.{}.{path}", step + 1));
                let theirs: Vec<f32> = numbers(&steps, &format!("param.{}.{path}", step + 1));
                let start: Vec<f32> = numbers(&steps, &format!("param.0.{path}"));
                let own = wide::<E>(&ours, &format!("param.{path}"));
                let scale = |k: usize| exact[k].abs().max(f64::from(start[k]).abs());
                let error = |found: f64, k: usize| match (found - exact[k]).abs() {
                    0.0 => 0.0,
                    off => off / scale(k),
                };
                let torch =
                    (0..exact.len()).map(|k| error(theirs[k].into(), k)).fold(0.0, f64::max);
                let worst = (0..exact.len()).map(|k| error(own[k], k)).fold(0.0, f64::max);
                let place = format!("{} step {step} {path}", self.name);
                assert!(worst <= bound(torch), "{place}: {worst:e}, PyTorch's {torch:e}");
            }
            self.check_scaler(&mut optimizer, &steps, step);
        }
    }

    fn check_scaler<E: Steps>(
        &self,
        optimizer: &mut AnyOptimizer<E>,
        steps: &SafeTensors<'_>,
        step: usize,
    ) {
        let Some(scaler) = optimizer.snapshot().expect("told").scaler else { return };
        let of = |key: &str| f64::from(numbers::<f32>(steps, key)[step]);
        let found = (f64::from(scaler.scale), f64::from(scaler.growth_tracker));
        assert_eq!(found, (of("scale"), of("growth_tracker")), "{} step {step}", self.name);
    }
}

fn elements<E: Steps>(values: &[f32]) -> Vec<E::Element> {
    values.iter().map(|&x| E::Element::from_f64(x.into())).collect()
}

fn wide<E: Steps>(file: &SafeTensors<'_>, key: &str) -> Vec<f64> {
    match size_of::<E::Element>() {
        8 => numbers(file, key),
        _ => numbers::<f32>(file, key).into_iter().map(f64::from).collect(),
    }
}

#[test]
fn pytorchs_checkpoints_are_followed_in_f64() {
    for name in CASES {
        let case = Case::read(name);
        let tolerance = if name.starts_with("nadam") { NADAM_TOLERANCE } else { F64_TOLERANCE };
        let load = |o: &mut AnyOptimizer<Cpu<f64>>| o.load().bytes(&case.saved).expect("loaded");
        case.follow(load, |_| tolerance);
    }
}

#[test]
fn pytorchs_checkpoints_are_followed_on_the_gpu() {
    for name in CASES {
        let case = Case::read(name);
        let load =
            |o: &mut AnyOptimizer<wgpu_optim::Gpu>| o.load().bytes(&case.saved).expect("loaded");
        case.follow(load, |torch| F32_FACTOR * torch + F32_FLOOR);
    }
}

/// A run that was saved by this crate half-way, and loaded again, follows as well.
#[test]
fn pytorchs_runs_go_on_over_a_file_of_ours() {
    for name in CASES {
        let case = Case::read(name);
        let load = |o: &mut AnyOptimizer<Cpu<f64>>| {
            let mut first = case.build::<Cpu<f64>>();
            first.load().bytes(&case.saved).expect("loaded");
            let own = first.save().bytes().expect("saved");
            o.load().bytes(&own).expect("loaded")
        };
        let tolerance = if name.starts_with("nadam") { NADAM_TOLERANCE } else { F64_TOLERANCE };
        case.follow(load, |_| tolerance);
    }
}

#[test]
fn hyperparameters_are_pytorchs() {
    let case = Case::read("nadamw_one_cycle");
    let mut optimizer = case.build::<Cpu<f64>>();
    let loaded = optimizer.load().bytes(&case.saved).expect("loaded");
    let rule = optimizer.rule(1).expect("there").downcast_ref::<wgpu_optim::NAdam>();
    let rule = rule.expect("NAdam");
    assert_eq!(rule.lr, 0.003_596_996_031_204_527);
    assert_eq!(rule.betas, (0.879_229_249_349_905_7, 0.999));
    assert_eq!(rule.weight_decay, 0.0);
    let scheduler: Value = serde_json::from_str(&loaded.metadata["scheduler"]).expect("JSON");
    assert_eq!(scheduler["last_epoch"], 7);
    let mut kept = case.build::<Cpu<f64>>();
    kept.load().keep_hyperparameters().bytes(&case.saved).expect("loaded");
    assert_eq!(kept.rule(1).expect("there").lr(), 0.0625);
}

/// What other precisions wrote: bf16 is widened, f64 is rounded on demand.
#[test]
fn other_precisions_load() {
    let case = Case::read("adamw");
    for (name, bits) in [("bf16", 16), ("f64", 64)] {
        let saved = std::fs::read(format!(
            "{}/tests/torch_checkpoint/variants/{name}.safetensors",
            env!("CARGO_MANIFEST_DIR")
        ));
        let saved = saved.expect("readable");
        let mut optimizer = case.build::<Cpu<f32>>();
        let loaded = optimizer.load().bytes(&saved);
        assert_eq!(loaded.is_ok(), bits == 16, "{name}: {loaded:?}");
        optimizer.load().convert().bytes(&saved).expect("converted");
        assert_eq!(optimizer.steps("embed.weight"), Ok(7));
    }
}

/// A file of ours as the converter would make it of PyTorch's: no snapshot, no checksum.
fn as_pytorchs(saved: &[u8], class: &str, groups: &Value) -> Vec<u8> {
    let file = SafeTensors::deserialize(saved).expect("safetensors");
    let arrays = file.tensors().into_iter().filter(|(key, _)| key != "checksum");
    let entries = [("optimizer", class.to_owned()), ("param_groups", groups.to_string())];
    let metadata = entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    safetensors::serialize(arrays, Some(metadata)).expect("a file")
}

/// bitsandbytes' 8-bit states, whose codes and scales are these, load without a snapshot: what was
/// signed and what was not is known by the rule.
#[test]
fn states_of_8_bits_load_from_elsewhere() {
    let build = || {
        let builder = wgpu_optim::CpuOptimizer::<f32>::builder();
        let builder = builder.group(wgpu_optim::AdamW::default(), [("w", [20, 30])]);
        let storage = wgpu_optim::Storage::f32().states(wgpu_optim::Format::Block8).min_block8(0);
        builder.storage("*", storage).build().expect("built")
    };
    let mut optimizer = build();
    for step in 1..4 {
        let grad: Vec<_> = (0..600).map(|k| ((k * step) % 17) as f32 - 8.0).collect();
        optimizer.set_grad("w", &grad).expect("set");
        optimizer.step().expect("stepped");
    }
    let saved = optimizer.save().bytes().expect("saved");
    let groups = serde_json::json!([{
        "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "params": ["w"],
    }]);
    let foreign = as_pytorchs(&saved, "AdamW", &groups);
    let mut other = build();
    other.load().bytes(&foreign).expect("loaded");
    assert!(other.save().bytes().expect("saved") == saved);
    // In f32 they are the numbers that the codes stand for.
    let mut wide: wgpu_optim::CpuOptimizer<f32> = wgpu_optim::CpuOptimizer::builder()
        .group(wgpu_optim::AdamW::default(), [("w", [20, 30])])
        .build()
        .expect("built");
    wide.load().bytes(&foreign).expect("loaded");
    for state in ["exp_avg", "exp_avg_sq"] {
        let [own, coded] = [&wide, &optimizer].map(|o| o.state("w", state).expect("kept").to_vec());
        assert_eq!(own, coded, "{state}");
    }
}
