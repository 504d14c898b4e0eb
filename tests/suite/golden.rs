//! Trajectories computed by PyTorch and optax (`tests/golden/generate.py`), followed in f64 on the CPU
//! and in f32 on the GPU.

use crate::common::gpu::Gpu;
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::path::Path;
use wgpu_optim::{
    AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, CpuOptimizer, DynRule, LAMB, LARS, Lion,
    NAdam, Optimizer, RAdam, RMSprop, Rprop, SGD,
};

/// The f64 reference may differ from the library's f64 run by as much, relatively.
fn f64_tolerance(rule: &str) -> f64 {
    // PyTorch keeps NAdam's product of momentum factors in f32.
    if rule == "NAdam" { 1e-7 } else { 1e-12 }
}

/// The GPU may be off the f64 trajectory by as many times the error of the library's own f32 run,
pub const F32_FACTOR: f64 = 4.0;
/// or by as many ulps where that error is next to nothing.
pub const F32_FLOOR: f64 = 4.0 * f32::EPSILON as f64;

/// A library's run.
struct Golden {
    name: String,
    rule_name: String,
    hyper: Map<String, Value>,
    param0: Vec<f32>,
    grads: Vec<Vec<f32>>,
    params_f64: Vec<Vec<f64>>,
    params_f32: Vec<Vec<f32>>,
    states: Vec<(String, Vec<f64>)>,
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
        let param0: Vec<f32> = numbers(&file, "param0");
        let n = param0.len();
        let state = |name: &str| {
            let short = name.strip_prefix("state_f64.")?;
            Some((pytorch_name(&metadata["rule"], short), numbers(&file, name)))
        };
        let rows = |flat: Vec<f32>| flat.chunks(n).map(<[f32]>::to_vec).collect::<Vec<_>>();
        Self {
            name: path.file_stem().expect("a name").to_string_lossy().into(),
            rule_name: metadata["rule"].clone(),
            hyper: serde_json::from_str(&metadata["hyper"]).expect("JSON"),
            grads: rows(numbers(&file, "grads")),
            params_f64: numbers::<f64>(&file, "params_f64")
                .chunks(n)
                .map(<[f64]>::to_vec)
                .collect(),
            params_f32: rows(numbers(&file, "params_f32")),
            states: file.names().into_iter().filter_map(state).collect(),
            param0,
        }
    }
}

/// PyTorch's name of an optax state.
fn pytorch_name(rule: &str, state: &str) -> String {
    match (rule, state) {
        ("RMSprop", "nu") => "square_avg",
        ("Adagrad", "sum_of_squares") => "sum",
        ("Lion" | "AdaBelief" | "LAMB", "mu") => "exp_avg",
        ("LAMB", "nu") => "exp_avg_sq",
        ("LARS", "trace") => "momentum_buffer",
        ("AdaBelief", "nu") => "exp_avg_var",
        _ => state,
    }
    .into()
}

/// Takes hyperparameters out of a case; what is left over was not understood.
struct Hyper<'a>(&'a mut Map<String, Value>);

impl Hyper<'_> {
    fn number(&mut self, names: &[&str], default: f64) -> f64 {
        let found = names.iter().find_map(|name| self.0.remove(*name));
        found.map_or(default, |value| value.as_f64().expect("a number"))
    }

    fn flag(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some_and(|value| value.as_bool().expect("a flag"))
    }

    fn betas(&mut self, default: (f64, f64)) -> (f64, f64) {
        if let (Some(b1), Some(b2)) = (self.0.remove("b1"), self.0.remove("b2")) {
            return (b1.as_f64().expect("β1"), b2.as_f64().expect("β2"));
        }
        let Some(betas) = self.0.remove("betas") else { return default };
        (betas[0].as_f64().expect("β1"), betas[1].as_f64().expect("β2"))
    }
}

/// The rule of a case.
pub fn rule(name: &str, hyper: &Map<String, Value>, case: &str) -> Box<dyn DynRule> {
    let mut hyper = hyper.clone();
    let mut h = Hyper(&mut hyper);
    let lr = h.number(&["lr"], f64::NAN);
    let rule = match name {
        "SGD" => SGD {
            lr,
            momentum: h.number(&["momentum"], 0.0),
            dampening: h.number(&["dampening"], 0.0),
            weight_decay: h.number(&["weight_decay"], 0.0),
            nesterov: h.flag("nesterov"),
            maximize: h.flag("maximize"),
        }
        .into(),
        "Adagrad" => Adagrad {
            lr,
            lr_decay: h.number(&["lr_decay"], 0.0),
            weight_decay: h.number(&["weight_decay"], 0.0),
            initial_accumulator_value: h.number(&["initial_accumulator_value"], 0.0),
            eps: h.number(&["eps"], 1e-10),
            eps_in_sqrt: h.flag("eps_in_sqrt"),
            maximize: h.flag("maximize"),
        }
        .into(),
        "RMSprop" => RMSprop {
            lr,
            alpha: h.number(&["alpha", "decay"], 0.99),
            eps: h.number(&["eps"], 1e-8),
            weight_decay: h.number(&["weight_decay"], 0.0),
            momentum: h.number(&["momentum"], 0.0),
            lr_in_momentum: false,
            initial_square_avg: 0.0,
            centered: h.flag("centered"),
            eps_in_sqrt: h.flag("eps_in_sqrt"),
            maximize: h.flag("maximize"),
        }
        .into(),
        "Adam" => Adam {
            lr,
            betas: h.betas((0.9, 0.999)),
            eps: h.number(&["eps"], 1e-8),
            weight_decay: h.number(&["weight_decay"], 0.0),
            amsgrad: h.flag("amsgrad"),
            max_after_correction: false,
            maximize: h.flag("maximize"),
        }
        .into(),
        "AdamW" => AdamW {
            lr,
            betas: h.betas((0.9, 0.999)),
            eps: h.number(&["eps"], 1e-8),
            weight_decay: h.number(&["weight_decay"], 1e-2),
            amsgrad: h.flag("amsgrad"),
            max_after_correction: false,
            maximize: h.flag("maximize"),
        }
        .into(),
        "Adadelta" => Adadelta {
            lr,
            rho: h.number(&["rho"], 0.9),
            eps: h.number(&["eps"], 1e-6),
            weight_decay: h.number(&["weight_decay"], 0.0),
            maximize: h.flag("maximize"),
        }
        .into(),
        "Adamax" => Adamax {
            lr,
            betas: h.betas((0.9, 0.999)),
            eps: h.number(&["eps"], 1e-8),
            weight_decay: h.number(&["weight_decay"], 0.0),
            maximize: h.flag("maximize"),
        }
        .into(),
        "NAdam" => NAdam {
            lr,
            betas: h.betas((0.9, 0.999)),
            eps: h.number(&["eps"], 1e-8),
            weight_decay: h.number(&["weight_decay"], 0.0),
            momentum_decay: h.number(&["momentum_decay"], 4e-3),
            decoupled_weight_decay: h.flag("decoupled_weight_decay"),
            maximize: h.flag("maximize"),
        }
        .into(),
        "RAdam" => RAdam {
            lr,
            betas: h.betas((0.9, 0.999)),
            eps: h.number(&["eps"], 1e-8),
            weight_decay: h.number(&["weight_decay"], 0.0),
            decoupled_weight_decay: h.flag("decoupled_weight_decay"),
            maximize: h.flag("maximize"),
        }
        .into(),
        "Rprop" => Rprop { lr, ..Default::default() }.into(),
        "Lion" => Lion {
            lr,
            betas: h.betas((0.9, 0.99)),
            weight_decay: h.number(&["weight_decay"], 0.0),
            maximize: h.flag("maximize"),
        }
        .into(),
        "AdaBelief" => AdaBelief {
            lr,
            betas: h.betas((0.9, 0.999)),
            eps: h.number(&["eps"], 1e-16),
            eps_root: h.number(&["eps_root"], 1e-16),
            ..Default::default()
        }
        .into(),
        "LAMB" => {
            assert_eq!(h.number(&["eps_root"], 0.0), 0.0);
            LAMB {
                lr,
                betas: h.betas((0.9, 0.999)),
                eps: h.number(&["eps"], 1e-6),
                weight_decay: h.number(&["weight_decay"], 0.0),
                maximize: h.flag("maximize"),
            }
            .into()
        }
        "LARS" => {
            assert!(h.number(&["eps"], 0.0) == 0.0 && !h.flag("nesterov"));
            LARS {
                lr,
                momentum: h.number(&["momentum"], 0.9),
                weight_decay: h.number(&["weight_decay"], 0.0),
                trust_coefficient: h.number(&["trust_coefficient"], 1e-3),
                maximize: h.flag("maximize"),
            }
            .into()
        }
        other => panic!("no rule for {other}"),
    };
    assert!(hyper.is_empty(), "{case}: not understood: {hyper:?}");
    rule
}

/// All cases.
fn cases() -> Vec<(Golden, Box<dyn DynRule>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the golden cases")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    paths.sort();
    let load = |path: &std::path::PathBuf| {
        let golden = Golden::load(path);
        let rule = rule(&golden.rule_name, &golden.hyper, &golden.name);
        (golden, rule)
    };
    let cases: Vec<_> = paths.iter().map(load).collect();
    for rule in wgpu_optim::rules::all() {
        let has_case = cases.iter().any(|(_, case)| case.name() == rule.name());
        assert!(has_case, "no golden case for {}", rule.name());
    }
    cases
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
            cpu.set_grad("p", &wide(grad)).expect("set");
            cpu.step().expect("stepped");
            let found = cpu.param("p").expect("there").to_vec();
            let off = relative(found, &golden.params_f64[step]);
            assert!(
                off <= f64_tolerance(&golden.rule_name),
                "{} step {}: off by {off:e}",
                golden.name,
                step + 1
            );
        }
        for (state, expected) in &golden.states {
            let found = cpu.state("p", state).expect("a state in use").to_vec();
            let off = relative(found, expected);
            assert!(
                off <= f64_tolerance(&golden.rule_name),
                "{} {state}: off by {off:e}",
                golden.name
            );
        }
    }
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
