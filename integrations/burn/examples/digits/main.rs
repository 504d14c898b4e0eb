//! Trains a small convolutional network on handwritten digits with Burn: once with Burn's own Adam,
//! once with ours, from the same parameters on the same batches. Prints how long the steps of each
//! take and draws both loss curves.
//!
//! `cargo run --example digits` takes a number of epochs after `--`, and `--help`.

mod chart;
mod data;
mod network;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, DeviceKind, Tensor};
use data::Digits;
use network::Network;
use std::time::{Duration, Instant};
use wgpu_optim_burn::Fuse;

const LEARNING_RATE: f64 = 2e-3;
const BATCH: usize = 64;
const EPOCHS: usize = 8;

/// Batches in which the two runs' losses still differ by rounding alone, and by how much,
/// relatively.
const SAME_BATCHES: usize = 5;
const ROUNDING: f32 = 1e-3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let epochs = match std::env::args().nth(1) {
        None => EPOCHS,
        Some(epochs) => epochs.parse().map_err(|_| "usage: digits [EPOCHS]")?,
    };
    // Instead of `Device::default()`, which would skip software adapters.
    let options = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice);
    let (device, setup) = options.init_with_setup()?;
    wgpu_optim_burn::share_device(&device, &setup);
    let device = device.autodiff();
    println!("{} with {}", setup.adapter.get_info().name, device_features());

    let digits = Digits::load(&device)?;
    let start = Network::new(&device);
    println!("{} parameters in {} tensors", start.num_params(), tensors(&start));

    let mut burn = AdamConfig::new().init();
    let burn = train("Burn's Adam", &start, &digits, epochs, &setup, |model, grads| {
        burn.step(LEARNING_RATE, model, grads)
    });
    let mut ours = AdamConfig::new().init_fused();
    let ours = train("ours", &start, &digits, epochs, &setup, |model, grads| {
        ours.step(LEARNING_RATE, model, grads)
    });

    let path = chart::draw(&[("Burn's Adam", &burn.losses), ("ours", &ours.losses)])?;
    println!("Loss curves: {}", path.display());
    check(&burn, &ours);
    Ok(())
}

/// The results of a run.
struct Run {
    losses: Vec<f32>,
    accuracy: f32,
}

/// Trains a copy of the network.
fn train(
    name: &str,
    start: &Network,
    digits: &Digits,
    epochs: usize,
    setup: &WgpuSetup,
    mut step: impl FnMut(Network, GradientsParams) -> Network,
) -> Run {
    let mut model = start.clone();
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    for epoch in 0..epochs {
        for batch in digits.batches(epoch, BATCH) {
            let loss = model.loss(&batch);
            losses.push(loss.clone().into_scalar());
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            wait(setup, &model);
            let start = Instant::now();
            model = step(model, grads);
            wait(setup, &model);
            times.push(start.elapsed());
        }
    }
    let accuracy = model.accuracy(&digits.test);
    println!(
        "{name:<12} loss {:.3} → {:.3}, {:.1} % of the test digits right, {:.2} ms a step (median)",
        losses[0],
        mean(&losses[losses.len().saturating_sub(10)..]),
        100.0 * accuracy,
        1e3 * median(times).as_secs_f64()
    );
    Run { losses, accuracy }
}

/// Waits until the device has done all it was asked to.
fn wait(setup: &WgpuSetup, model: &Network) {
    model.device().sync().expect("the device works");
    let poll = wgpu_optim_burn::wgpu_optim::wgpu::PollType::wait_indefinitely();
    setup.device.poll(poll).expect("the device works");
}

/// The curves coincide at first, and both runs learn.
fn check(burn: &Run, ours: &Run) {
    let pairs = burn.losses.iter().zip(&ours.losses);
    let difference = pairs.map(|(a, b)| (a - b).abs() / a).take(SAME_BATCHES).fold(0.0, f32::max);
    println!("Largest relative difference in the first {SAME_BATCHES} batches: {difference:.1e}");
    assert!(difference < ROUNDING, "the runs differ by more than rounding");
    for run in [burn, ours] {
        assert!(run.accuracy > 0.5, "a run has not learned");
    }
}

fn tensors(model: &Network) -> usize {
    struct Count(usize);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.0 += 1;
        }
    }
    let mut count = Count(0);
    model.visit(&mut count);
    count.0
}

fn device_features() -> &'static str {
    if cfg!(feature = "fusion") { "fusion" } else { "no fusion" }
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
