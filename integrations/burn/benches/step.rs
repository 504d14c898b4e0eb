//! A step of ours against a step of Burn's own optimizer: in turns in one run, on the same adapter,
//! with the same shapes, until the device has finished. Ours steps Burn's model, and the time
//! includes finding the memory of Burn's tensors; the core crate by itself steps an arena of the
//! same tensors.
//!
//! `cargo bench` measures all rules, or the one that `BENCH_RULE` names. `BENCH_ELEMENTS` skips
//! larger tensors: `BENCH_ELEMENTS=1 BENCH_RULE=Adam cargo test --bench step` only tests that the
//! bench runs. `BENCH_LINES=file.jsonl` appends the lines for the core's record, which its bench
//! merges: see `benches/record/README.md` there.

#[path = "../../../benches/support/stats.rs"]
#[allow(dead_code, reason = "the core's benches need more of it")]
mod stats;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::transformer::TransformerEncoderConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, RmsPropConfig,
};
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};
use wgpu_optim_burn::rules::{Adagrad, Adam, AdamW, RMSprop};
use wgpu_optim_burn::wgpu_optim::{DynRule, Optimizer, wgpu};
use wgpu_optim_burn::{FusedConfig, FusedOptimizer};

/// Steps before the measured ones, in which kernels are compiled and memory is allocated.
const WARM_UP: usize = 3;
const ROUNDS: usize = 31;

#[derive(Module, Debug)]
struct Tensors {
    tensors: Vec<Param<Tensor<1>>>,
}

impl Tensors {
    fn new(count: usize, len: usize, device: &Device) -> Self {
        let tensor = |_| {
            let values = Tensor::<1>::random([len], Distribution::Default, device);
            Param::initialized(ParamId::new(), values.require_grad())
        };
        Self { tensors: (0..count).map(tensor).collect() }
    }
}

/// Gradients for all parameters of a module: new tensors, as a backward pass makes them.
struct Grads(GradientsParams);

impl ModuleVisitor for Grads {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let device = param.device().inner();
        let grad = Tensor::<D>::random(param.dims(), Distribution::Default, &device);
        self.0.register(param.id, grad);
    }
}

/// A Burn device and its wgpu handles.
struct Place {
    device: Device,
    setup: WgpuSetup,
}

impl Place {
    /// Waits for all that was submitted.
    fn wait(&self) {
        self.device.sync().expect("the device works");
        self.setup.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
    }
}

fn main() {
    let options = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice);
    let (device, setup) = options.init_with_setup().expect("a wgpu adapter");
    wgpu_optim_burn::share_device(&device, &setup);
    println!("{:?}", setup.adapter.get_info().name);
    let place = Place { device: device.autodiff(), setup };
    let limit = std::env::var("BENCH_ELEMENTS").ok().and_then(|limit| limit.parse().ok());
    println!(
        "{:<12}{:<9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>8}",
        "model", "rule", "Burn ms", "ours ms", "issued", "ratio", "core ms", "ratio"
    );
    for (name, count, len) in
        [("1x16M", 1, 16 << 20), ("1000x4096", 1000, 4096), ("1000x65536", 1000, 65_536)]
    {
        if limit.is_none_or(|limit| len <= limit) {
            compare(&place, name, || Tensors::new(count, len, &place.device));
        }
    }
    let [width, inner, heads, layers] = TRANSFORMER;
    let config = TransformerEncoderConfig::new(width, inner, heads, layers);
    compare(&place, "transformer", || config.init(&place.device));
}

/// Width, inner width, heads and layers.
const TRANSFORMER: [usize; 4] = [128, 512, 4, 6];

/// A rule of ours, with the name and the optimizer of Burn's.
struct Rule {
    name: &'static str,
    core: Box<dyn DynRule>,
    fused: FusedOptimizer,
    burn: ModuleOptimizer,
}

impl Rule {
    fn new(name: &'static str, rule: impl Into<Box<dyn DynRule>>, burn: ModuleOptimizer) -> Self {
        let core = rule.into();
        Self { name, fused: FusedConfig::new(core.boxed()).init(), core, burn }
    }
}

fn rules() -> Vec<Rule> {
    const EPS: f64 = 1e-5;
    let adam = Adam { eps: EPS, ..Default::default() };
    let adamw = AdamW { eps: EPS, weight_decay: 1e-4, ..Default::default() };
    let rmsprop = RMSprop { eps: EPS, momentum: 0.9, ..Default::default() };
    let adagrad = Adagrad { eps: EPS, ..Default::default() };
    let rules = vec![
        Rule::new("Adam", adam, AdamConfig::new().init()),
        Rule::new("AdamW", adamw, AdamWConfig::new().init()),
        Rule::new("RMSprop", rmsprop, RmsPropConfig::new().init()),
        Rule::new("Adagrad", adagrad, AdaGradConfig::new().init()),
    ];
    let chosen = std::env::var("BENCH_RULE").ok();
    let is_chosen = |rule: &Rule| chosen.as_deref().is_none_or(|chosen| chosen == rule.name);
    rules.into_iter().filter(is_chosen).collect()
}

/// How long a step took: until the device had finished, and until the call returned.
type Times = (Duration, Duration);

/// Times one step.
fn timed(place: &Place, step: impl FnOnce()) -> Times {
    place.wait();
    let start = Instant::now();
    step();
    let issued = start.elapsed();
    place.wait();
    (start.elapsed(), issued)
}

/// Lets autodiff forget the leaves of earlier steps, as every backward pass does: in a graph that
/// only grew, each step would take longer than the one before.
fn free_leaves(place: &Place) {
    Tensor::<1>::zeros([1], &place.device).require_grad().backward();
}

/// Steps a copy of a model, with new gradients each time.
fn of_model<'a, M: Module + 'a>(
    place: &'a Place,
    model: M,
    mut step: impl FnMut(M, GradientsParams) -> M + 'a,
) -> Box<dyn FnMut() -> Times + 'a> {
    let mut model = Some(model);
    Box::new(move || {
        let module = model.take().expect("it is put back");
        let mut grads = Grads(GradientsParams::new());
        module.visit(&mut grads);
        free_leaves(place);
        timed(place, || model = Some(step(module, grads.0)))
    })
}

/// Steps an arena of tensors of these lengths.
fn of_arena<'a>(
    place: &'a Place,
    rule: Box<dyn DynRule>,
    lens: &[usize],
) -> Box<dyn FnMut() -> Times + 'a> {
    let WgpuSetup { device, queue, .. } = &place.setup;
    let params = lens.iter().enumerate().map(|(index, &len)| (index.to_string(), len));
    let optimizer = Optimizer::builder().group(rule, params).build(device, queue);
    let mut optimizer = optimizer.expect("room for the tensors");
    for (index, &len) in lens.iter().enumerate() {
        let values: Vec<_> = (0..len).map(|k| (k as f32).sin()).collect();
        optimizer.set_grad(index.to_string(), &values).expect("as many as there are");
    }
    Box::new(move || {
        timed(place, || {
            let mut encoder = device.create_command_encoder(&Default::default());
            optimizer.step(&mut encoder).expect("recorded");
            queue.submit([encoder.finish()]);
        })
    })
}

/// The lengths of a module's parameters.
struct Lens(Vec<usize>);

impl ModuleVisitor for Lens {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.dims().iter().product());
    }
}

/// Compares all rules on copies of a model.
fn compare<M: Module>(place: &Place, shape: &str, model: impl Fn() -> M) {
    for Rule { name, core, mut fused, mut burn } in rules() {
        let mut lens = Lens(Vec::new());
        model().visit(&mut lens);
        let mut contestants = [
            of_model(place, model(), move |module, grads| burn.step(1e-3, module, grads)),
            of_model(place, model(), move |module, grads| fused.step(1e-3, module, grads)),
            of_arena(place, core, &lens.0),
        ];
        let mut rounds = Vec::new();
        for round in 0..WARM_UP + ROUNDS {
            let times = [0, 1, 2].map(|turn| contestants[turn]());
            if round >= WARM_UP {
                rounds.push(times);
            }
        }
        report(shape, name, lens.0.iter().sum(), &rounds);
    }
}

/// Prints what was found, and appends it to the file that `BENCH_LINES` names.
fn report(shape: &str, rule: &str, elements: usize, rounds: &[[Times; 3]]) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let median = |of: &dyn Fn(&[Times; 3]) -> f64| quartiles(rounds.iter().map(of))[0];
    let [burn, fused, core] = [0, 1, 2].map(|turn| median(&|round| ms(round[turn].0)));
    let issued = median(&|round| ms(round[1].1));
    let of_burn =
        |turn: usize| quartiles(rounds.iter().map(|round| ms(round[0].0) / ms(round[turn].0)));
    let [by_fused, by_core] = [of_burn(1), of_burn(2)];
    println!(
        "{shape:<12}{rule:<9}{burn:>9.1}{fused:>9.1}{issued:>9.1}{:>8.2}{core:>9.1}{:>8.2}",
        by_fused[0], by_core[0]
    );
    let Ok(path) = std::env::var("BENCH_LINES") else { return };
    let line = |peer: &str, how: &str, ms: f64, ratios: Value| {
        json!({
            "peer": peer, "rule": rule.to_lowercase(), "impl": how, "shape": shape, "n": elements,
            "series": "wall clock, in turns", "samples": rounds.len(), "ms_median": ms,
            "ratios": ratios,
        })
    };
    let rule = rule.to_lowercase();
    let of_fused = by_fused.map(|ratio| 1.0 / ratio);
    let of_core = by_core.map(|ratio| 1.0 / ratio);
    let (through, arena) =
        (format!("wgpu-optim-burn {rule} burn tensors"), format!("wgpu-optim {rule} arena"));
    let peer = format!("burn {rule} fusion");
    let lines = [
        line("burn", "fusion", burn, json!({ through: of_fused, arena: of_core })),
        line("wgpu-optim-burn", "burn tensors", fused, json!({ &peer: by_fused })),
        line("wgpu-optim", "arena", core, json!({ &peer: by_core })),
    ];
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.unwrap_or_else(|error| panic!("{path}: {error}"));
    for line in lines {
        writeln!(file, "{line}").unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// The median and the quartiles.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let values: Vec<_> = values.collect();
    [0.5, 0.25, 0.75].map(|share| stats::quantile(&values, share))
}
