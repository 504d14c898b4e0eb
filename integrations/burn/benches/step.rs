//! A step of ours against a step of Burn's own optimizer: in turns in one run, on the same adapter, with the same
//! parameters and gradients, until the device has finished. The seam's own cost counts.
//!
//! `cargo bench` measures; `BENCH_ELEMENTS=4096 cargo test --bench step` only tries that all works.

use burn::module::{Module, Param, ParamId};
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
const ROUNDS: usize = 11;

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

    /// New tensors, as a backward pass makes them.
    fn grads(&self, len: usize, device: &Device) -> GradientsParams {
        let mut grads = GradientsParams::new();
        let device = device.clone().inner();
        for param in &self.tensors {
            grads.register(param.id, Tensor::<1>::random([len], Distribution::Default, &device));
        }
        grads
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
    println!("{:<10}{:>8}{:>12}{:>12}{:>12}{:>8}", "rule", "tensors", "of", "Burn ms", "ours ms", "ratio");
    for (count, len) in [(1, 16 << 20), (1000, 4096), (1000, 65_536)] {
        if limit.is_some_and(|limit| len > limit) {
            continue;
        }
        for (name, ours, burn) in rules() {
            compare(&place, name, (count, len), ours, burn);
        }
    }
}

fn rules() -> Vec<(&'static str, FusedOptimizer, ModuleOptimizer)> {
    const EPS: f64 = 1e-5;
    vec![
        ("Adam", FusedConfig::new(Adam { eps: EPS, ..Default::default() }).init(), AdamConfig::new().init()),
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
        ("AdaGrad", FusedConfig::new(Adagrad { eps: EPS, ..Default::default() }).init(), AdaGradConfig::new().init()),
    ]
}

fn compare(
    place: &Place,
    name: &str,
    (count, len): (usize, usize),
    mut ours: FusedOptimizer,
    mut burn: ModuleOptimizer,
) {
    let mut models = [0, 1].map(|_| Some(Tensors::new(count, len, &place.device)));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..WARM_UP + ROUNDS {
        for (turn, model) in models.iter_mut().enumerate() {
            let module = model.take().expect("it is put back");
            let grads = module.grads(len, &place.device);
            place.wait();
            let start = Instant::now();
            let module = match turn {
                0 => burn.step(1e-3, module, grads),
                _ => ours.step(1e-3, module, grads),
            };
            let issued = start.elapsed();
            place.wait();
            if round >= WARM_UP {
                times[turn].push(start.elapsed());
            }
            if std::env::var("BENCH_VERBOSE").is_ok() { println!("  {turn} issued {issued:?} done {:?}", start.elapsed()); }
            *model = Some(module);
        }
    }
    let [burn, ours] = times.map(median);
    println!("{name:<10}{count:>8}{len:>12}{burn:>12.1}{ours:>12.1}{:>8.2}", burn / ours);
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
