//! Trajectories computed by PyTorch and optax (`tests/golden/generate.py`), followed in f64 on the
//! CPU and in f32 on the GPU.

use crate::common::facts::{self, FACTS, Facts};
use crate::common::gpu::Gpu;
use crate::common::hyper::Hyper;
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use wgpu_optim::{
    CpuOptimizer, DynRule, Optimizer, ScheduleFreeAdamW, ScheduleFreeRAdam, ScheduleFreeSGD,
};

/// The GPU may be off the f64 trajectory by as many times the error of the library's own f32 run,
pub const F32_FACTOR: f64 = 4.0;
/// or by as many ulps where that error is next to nothing.
pub const F32_FLOOR: f64 = 4.0 * f32::EPSILON as f64;

/// The name of Schedule-Free's evaluation points in a file.
const EVALUATION: &str = "traj_f64.eval";

/// A library's run.
struct Golden {
    name: String,
    facts: &'static Facts,
    hyper: Map<String, Value>,
    param0: Vec<f32>,
    grads: Vec<Vec<f32>>,
    /// The learning rate of each step, where it changes.
    lrs: Option<Vec<f64>>,
    params_f64: Vec<Vec<f64>>,
    params_f32: Vec<Vec<f32>>,
    states: Vec<(String, Vec<f64>)>,
    /// Where Schedule-Free rules are evaluated after each step.
    evaluations: Option<Vec<Vec<f64>>>,
}

impl Golden {
    /// Each element's largest magnitude in the run: what its f32 errors are relative to, since an
    /// element that happens to pass zero keeps the absolute error of where it came from.
    fn scale(&self) -> Vec<f64> {
        let mut scale: Vec<_> = self.param0.iter().map(|&x| f64::from(x).abs()).collect();
        for params in &self.params_f64 {
            scale.iter_mut().zip(params).for_each(|(s, p)| *s = s.max(p.abs()));
        }
        scale
    }
}

/// Little-endian numbers of a tensor.
pub fn numbers<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
    file: &SafeTensors<'_>,
    name: &str,
) -> Vec<T> {
    bytemuck::pod_collect_to_vec(file.tensor(name).expect("a tensor of the file").data())
}

impl Golden {
    fn load(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("readable");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let metadata = header.metadata().clone().expect("metadata");
        let facts = facts_of(&metadata["rule"]);
        let param0: Vec<f32> = numbers(&file, "param0");
        let n = param0.len();
        let state = |name: &str| {
            let short = name.strip_prefix("state_f64.")?;
            Some((our_name(facts, short), numbers(&file, name)))
        };
        let wide_rows = |name: &str| -> Vec<_> {
            numbers::<f64>(&file, name).chunks(n).map(<[f64]>::to_vec).collect()
        };
        let rows = |flat: Vec<f32>| flat.chunks(n).map(<[f32]>::to_vec).collect::<Vec<_>>();
        Self {
            name: path.file_stem().expect("a name").to_string_lossy().into(),
            facts,
            hyper: serde_json::from_str(&metadata["hyper"]).expect("JSON"),
            grads: rows(numbers(&file, "grads")),
            lrs: file.tensor("lr").is_ok().then(|| numbers(&file, "lr")),
            params_f64: wide_rows("params_f64"),
            evaluations: file.tensor(EVALUATION).is_ok().then(|| wide_rows(EVALUATION)),
            params_f32: rows(numbers(&file, "params_f32")),
            states: file.names().into_iter().filter_map(state).collect(),
            param0,
        }
    }
}

/// The row of a library's class.
pub fn facts_of(class: &str) -> &'static Facts {
    let facts = facts::of(&class.to_lowercase());
    facts.unwrap_or_else(|| panic!("no rule for {class}"))
}

/// The name of a state that a library may call otherwise.
fn our_name(facts: &Facts, state: &str) -> String {
    let known = facts.golden.states.iter().find(|[optax, _]| *optax == state);
    known.map_or(state, |[_, ours]| *ours).into()
}

impl Golden {
    fn rule(&self) -> Box<dyn DynRule> {
        rule(self.facts, &self.hyper, &self.name)
    }
}

/// A rule with a library's hyperparameters.
pub fn rule(facts: &Facts, hyper: &Map<String, Value>, case: &str) -> Box<dyn DynRule> {
    let mut hyper = Hyper::of(hyper);
    let rule = (facts.golden.rule)(&mut hyper);
    hyper.all_taken(case);
    rule
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// All cases: those that the rows of all rules name.
fn cases() -> Vec<(Golden, Box<dyn DynRule>)> {
    let load = |facts: &'static Facts, stem: &&str| {
        let golden = Golden::load(&folder().join(stem).with_extension("safetensors"));
        let rule = golden.rule();
        assert_eq!((rule.name(), golden.facts.name), (facts.name, facts.name), "{stem}");
        (golden, rule)
    };
    FACTS
        .iter()
        .flat_map(|facts| facts.golden.cases.iter().map(move |stem| load(facts, stem)))
        .collect()
}

#[test]
fn every_rule_has_cases_and_every_case_a_rule() {
    let mut named: Vec<_> = FACTS.iter().flat_map(|facts| facts.golden.cases).copied().collect();
    named.sort_unstable();
    let mut found: Vec<_> = std::fs::read_dir(folder())
        .expect("the golden cases")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.sort_unstable();
    assert_eq!(named, found);
    for Facts { name, golden, .. } in FACTS {
        assert!(!golden.cases.is_empty(), "no golden case for {name}");
    }
}

/// The larger number; a NaN, which `f64::max` would swallow, is larger than any.
pub fn larger(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// The largest relative difference between two runs of numbers.
fn relative<'a>(
    found: impl IntoIterator<Item = f64>,
    expected: impl IntoIterator<Item = &'a f64>,
) -> f64 {
    let difference = |(found, &expected): (f64, &f64)| {
        if found == expected { 0.0 } else { (found - expected).abs() / expected.abs() }
    };
    found.into_iter().zip(expected).map(difference).fold(0.0, larger)
}

#[test]
fn the_f64_reference_follows_every_golden_case() {
    for (golden, rule) in cases() {
        let mut cpu = CpuOptimizer::<f64>::builder()
            .group(rule, [("p", golden.param0.len())])
            .build()
            .expect("built");
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        cpu.set_param("p", &wide(&golden.param0)).expect("set");
        for (step, grad) in golden.grads.iter().enumerate() {
            if let Some(lrs) = &golden.lrs {
                cpu.set_lr(0, lrs[step]).expect("in range");
            }
            cpu.set_grad("p", &wide(grad)).expect("set");
            cpu.step().expect("stepped");
            let found = cpu.param("p").expect("there").to_vec();
            let off = relative(found, &golden.params_f64[step]);
            assert!(
                off <= golden.facts.golden.f64_tolerance,
                "{} step {}: off by {off:e}",
                golden.name,
                step + 1
            );
        }
        for (state, expected) in &golden.states {
            let found = cpu.state("p", state).expect("a state in use").to_vec();
            let off = relative(found, expected);
            assert!(
                off <= golden.facts.golden.f64_tolerance,
                "{} {state}: off by {off:e}",
                golden.name
            );
        }
    }
}

/// The element at which a Schedule-Free rule is evaluated.
fn evaluation(rule: &dyn DynRule, y: f64, z: f64) -> f64 {
    let sgd = rule.downcast_ref::<ScheduleFreeSGD>().map(|rule| rule.evaluation(y, z));
    let adamw = rule.downcast_ref::<ScheduleFreeAdamW>().map(|rule| rule.evaluation(y, z));
    let radam = rule.downcast_ref::<ScheduleFreeRAdam>().map(|rule| rule.evaluation(y, z));
    sgd.or(adamw).or(radam).expect("a Schedule-Free rule")
}

#[test]
fn schedule_free_rules_are_evaluated_where_the_library_is() {
    let cases = cases().into_iter().filter(|(golden, _)| golden.evaluations.is_some());
    let mut count = 0;
    for (golden, rule) in cases {
        let mut cpu = CpuOptimizer::<f64>::builder()
            .group(rule.boxed(), [("p", golden.param0.len())])
            .build()
            .expect("built");
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        cpu.set_param("p", &wide(&golden.param0)).expect("set");
        for (grad, expected) in golden.grads.iter().zip(golden.evaluations.iter().flatten()) {
            cpu.set_grad("p", &wide(grad)).expect("set");
            cpu.step().expect("stepped");
            let y = cpu.param("p").expect("there").to_vec();
            let z = cpu.state("p", "z").expect("in use").to_vec();
            let found = y.iter().zip(&z).map(|(&y, &z)| evaluation(rule.as_ref(), y, z));
            let off = relative(found, expected);
            assert!(off <= golden.facts.golden.f64_tolerance, "{}: off by {off:e}", golden.name);
            count += 1;
        }
    }
    assert!(count > 0, "no case has evaluation points");
}

#[test]
fn the_gpu_follows_every_golden_case() {
    let gpu = Gpu::default();
    for (golden, rule) in cases() {
        let mut optimizer = Optimizer::builder()
            .group(rule, [("p", golden.param0.len())])
            .build(&gpu.device, &gpu.queue)
            .expect("built");
        optimizer.set_param("p", &golden.param0).expect("set");
        let scale = golden.scale();
        let (mut gpu_error, mut library_error) = (0f64, 0f64);
        for (step, grad) in golden.grads.iter().enumerate() {
            if let Some(lrs) = &golden.lrs {
                optimizer.set_lr(0, lrs[step]).expect("in range");
            }
            optimizer.set_grad("p", grad).expect("set");
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).expect("recorded");
            gpu.submit(encoder);
            let found = optimizer.read_param("p").and_then(|r| r.wait()).expect("read");
            let exact = &golden.params_f64[step];
            let error = |run: &[f32]| {
                let off = run.iter().zip(exact).map(|(&x, &exact)| (f64::from(x) - exact).abs());
                off.zip(&scale).map(|(off, scale)| off / scale).fold(0.0, larger)
            };
            assert!(!error(&found).is_nan(), "{} step {}: NaN", golden.name, step + 1);
            gpu_error = gpu_error.max(error(&found));
            library_error = library_error.max(error(&golden.params_f32[step]));
        }
        let allowed = (F32_FACTOR * library_error).max(F32_FLOOR);
        assert!(
            gpu_error <= allowed,
            "{}: off by {gpu_error:e}, the library's f32 by {library_error:e}",
            golden.name
        );
    }
}
