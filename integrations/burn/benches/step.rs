//! A step of ours against a step of Burn's own optimizer: in turns in one run, on the same adapter, with the same
//! parameters and gradients, until the device has finished. The seam's own cost counts.
//!
//! `cargo bench` measures, all rules or the one that `BENCH_RULE` names. `BENCH_ELEMENTS` leaves out larger tensors:
//! `BENCH_ELEMENTS=1 BENCH_RULE=Adam cargo test --bench step` only tries that all works.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::transformer::TransformerEncoderConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, RmsPropConfig,
};
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
use std::time::{Duration, Instant};
use wgpu_optim_burn::rules::{Adagrad, Adam, AdamW, RMSprop};
use wgpu_optim_burn::wgpu_optim::wgpu;
use wgpu_optim_burn::{FusedConfig, FusedOptimizer};

/// Steps before the measured ones, in which kernels are compiled and memory is found.
const WARM_UP: usize = 3;
const ROUNDS: usize = 7;

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
        "{:<16}{:<10}{:>10}{:>10}{:>10}{:>8}",
        "model", "rule", "Burn ms", "ours ms", "issued", "ratio"
    );
    for (count, len) in [(1, 16 << 20), (1000, 4096), (1000, 65_536)] {
        if limit.is_none_or(|limit| len <= limit) {
            let model = || Tensors::new(count, len, &place.device);
            compare(&place, &format!("{count} of {len}"), model);
        }
    }
    let [width, inner, heads, layers] = TRANSFORMER;
    let config = TransformerEncoderConfig::new(width, inner, heads, layers);
    compare(&place, "transformer", || config.init(&place.device));
}

/// Width, inner width, heads and layers.
const TRANSFORMER: [usize; 4] = [128, 512, 4, 6];

fn rules() -> Vec<(&'static str, FusedOptimizer, ModuleOptimizer)> {
    const EPS: f64 = 1e-5;
    let pairs = vec![
        (
            "Adam",
            FusedConfig::new(Adam { eps: EPS, ..Default::default() }).init(),
            AdamConfig::new().init(),
        ),
        (
            "AdamW",
            FusedConfig::new(AdamW { eps: EPS, weight_decay: 1e-4, ..Default::default() }).init(),
            AdamWConfig::new().init(),
        ),
        (
            "RMSprop",
            FusedConfig::new(RMSprop { eps: EPS, momentum: 0.9, ..Default::default() }).init(),
            RmsPropConfig::new().init(),
        ),
        (
            "AdaGrad",
            FusedConfig::new(Adagrad { eps: EPS, ..Default::default() }).init(),
            AdaGradConfig::new().init(),
        ),
    ];
    let chosen = std::env::var("BENCH_RULE").ok();
    pairs
        .into_iter()
        .filter(|(name, ..)| chosen.as_deref().is_none_or(|chosen| chosen == *name))
        .collect()
}

/// Compares all rules on two copies of a model.
fn compare<M: Module>(place: &Place, name: &str, model: impl Fn() -> M) {
    for (rule, mut ours, mut burn) in rules() {
        let mut models = [Some(model()), Some(model())];
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..WARM_UP + ROUNDS {
            for (turn, model) in models.iter_mut().enumerate() {
                let module = model.take().expect("it is put back");
                let mut grads = Grads(GradientsParams::new());
                module.visit(&mut grads);
                place.wait();
                let start = Instant::now();
                let module = match turn {
                    0 => burn.step(1e-3, module, grads.0),
                    _ => ours.step(1e-3, module, grads.0),
                };
                let issued = start.elapsed();
                place.wait();
                if round >= WARM_UP {
                    times[turn].push((start.elapsed(), issued));
                }
                *model = Some(module);
            }
        }
        let [(burn, _), (ours, issued)] = times.map(medians);
        let ratio = burn / ours;
        println!("{name:<16}{rule:<10}{burn:>10.1}{ours:>10.1}{issued:>10.1}{ratio:>8.2}");
    }
}

/// In milliseconds: until the device had finished, and until the call returned.
fn medians(times: Vec<(Duration, Duration)>) -> (f64, f64) {
    let (done, issued) = times.into_iter().unzip();
    (median(done), median(issued))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
