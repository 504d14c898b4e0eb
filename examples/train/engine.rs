//! The optimizer's step: on the GPU, or on all cores of the CPU where there is none.

use crate::gpu::Gpu;
use crate::network::Network;
use std::path::Path;
use wgpu_optim::checkpoint::{Loaded, Snapshot};
use wgpu_optim::optimizer;
use wgpu_optim::{CpuOptimizer, Error, GradScaler, Modifiers, Optimizer, Rule, Storage, wgpu};

/// What happens around each step, and how arrays are stored.
#[derive(Clone)]
pub struct Control {
    /// The global norm that gradients are clipped to.
    pub max_norm: f64,
    pub scaler: GradScaler,
    pub storage: Storage,
    /// What is done around the rule's update.
    pub modifiers: Modifiers,
}

impl Control {
    /// With all arrays in f32.
    pub fn new(max_norm: f64) -> Self {
        let scaler = GradScaler {
            // Too large for this network's gradients in f16, to show how steps are skipped.
            init_scale: 16_777_216.0,
            // PyTorch's default, 2000, is more steps than this training has.
            growth_interval: 100,
            ..Default::default()
        };
        Self { max_norm, scaler, storage: Storage::f32(), modifiers: Modifiers::default() }
    }
}

/// What is known after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// The global gradient norm, unscaled and before clipping; not finite if the step was skipped.
    pub grad_norm: f64,
    /// The scale for the next step's loss.
    pub loss_scale: f32,
    /// Steps skipped so far.
    pub skipped: u64,
}

impl Status {
    pub fn before_training(control: &Control) -> Self {
        Self { grad_norm: 0.0, loss_scale: control.scaler.init_scale, skipped: 0 }
    }
}

/// An optimizer of a network's parameters.
pub enum Engine {
    Gpu { gpu: Gpu, optimizer: Box<Optimizer> },
    Cpu { optimizer: Box<CpuOptimizer<f32>> },
}

impl Engine {
    /// Starts from the network's parameters, on the GPU if one is given.
    pub fn new(
        rule: impl Rule,
        network: &Network,
        control: &Control,
        gpu: Option<&Gpu>,
    ) -> Result<Self, Error> {
        let Some(gpu) = gpu else {
            let optimizer = cpu_optimizer(rule, network, control)?;
            return Ok(Self::Cpu { optimizer: Box::new(optimizer) });
        };
        let tensors = network.tensors().map(|(name, values)| (name, values.shape().to_vec()));
        let mut optimizer = Optimizer::builder()
            .group(control.modifiers.on(rule), tensors)
            .clip_grad_norm(control.max_norm)
            .grad_scaler(control.scaler)
            .storage("*", control.storage.clone())
            .build(&gpu.device, &gpu.queue)?;
        for (name, values) in network.tensors() {
            optimizer.set_param(&name, &values)?;
        }
        Ok(Self::Gpu { gpu: gpu.clone(), optimizer: Box::new(optimizer) })
    }

    /// Saves everything that decides how the run goes on, with entries of the caller's.
    pub fn save(&mut self, path: &Path, entries: &[(&str, String)]) -> Result<(), Error> {
        match self {
            Self::Gpu { optimizer, .. } => save(optimizer, path, entries),
            Self::Cpu { optimizer } => save(optimizer, path, entries),
        }
    }

    /// Goes on from a file: its parameters, which the network gets, its status, and the caller's
    /// entries.
    pub fn load(&mut self, path: &Path, network: &mut Network) -> Result<(Status, Loaded), Error> {
        match self {
            Self::Gpu { optimizer, .. } => {
                let loaded = optimizer.load().file(path)?;
                read_gpu(optimizer, network)?;
                Ok((status(&optimizer.snapshot()?), loaded))
            }
            Self::Cpu { optimizer } => {
                let loaded = optimizer.load().file(path)?;
                read_cpu(optimizer, network)?;
                Ok((status(&optimizer.snapshot()?), loaded))
            }
        }
    }

    /// Exchanges the parameters and their averages; the network gets what are the parameters then.
    pub fn swap_average(&mut self, network: &mut Network) -> Result<(), Error> {
        match self {
            Self::Gpu { gpu, optimizer } => {
                let mut encoder = gpu.device.create_command_encoder(&Default::default());
                optimizer.swap_average(&mut encoder)?;
                gpu.queue.submit([encoder.finish()]);
                read_gpu(optimizer, network)
            }
            Self::Cpu { optimizer } => {
                optimizer.swap_average()?;
                read_cpu(optimizer, network)
            }
        }
    }

    /// Bytes that parameters, gradients and states take, a parameter's element.
    pub fn bytes_per_element(&self) -> f64 {
        match self {
            Self::Gpu { optimizer, .. } => bytes_per_element(optimizer),
            Self::Cpu { optimizer } => bytes_per_element(optimizer),
        }
    }

    /// Takes one step with these gradients, which are multiplied by the loss scale, and copies the
    /// new parameters into the network.
    pub fn step(
        &mut self,
        lr: f64,
        gradients: &Network,
        network: &mut Network,
    ) -> Result<Status, Error> {
        match self {
            Self::Gpu { gpu, optimizer } => {
                optimizer.set_base_lr(lr)?;
                step_on_gpu(gpu, optimizer, gradients, network)
            }
            Self::Cpu { optimizer } => {
                optimizer.set_base_lr(lr)?;
                step_on_cpu(optimizer, gradients, network)
            }
        }
    }
}

fn read_gpu(optimizer: &Optimizer, network: &mut Network) -> Result<(), Error> {
    for (name, mut tensor) in network.tensors_mut() {
        let values = optimizer.read_param(&name)?.wait()?;
        tensor.iter_mut().zip(values).for_each(|(value, new)| *value = new);
    }
    Ok(())
}

fn read_cpu(optimizer: &CpuOptimizer<f32>, network: &mut Network) -> Result<(), Error> {
    for (name, mut tensor) in network.tensors_mut() {
        let values = optimizer.param(&name)?;
        tensor.iter_mut().zip(&values).for_each(|(value, new)| *value = *new);
    }
    Ok(())
}

fn save<E: optimizer::Engine>(
    optimizer: &mut optimizer::Optimizer<E>,
    path: &Path,
    entries: &[(&str, String)],
) -> Result<(), Error> {
    let save = entries.iter().fold(optimizer.save(), |save, (key, entry)| save.user(*key, entry));
    save.file(path).map(drop)
}

/// What is known of a run that goes on.
fn status(snapshot: &Snapshot) -> Status {
    let loss_scale = snapshot.scaler.as_ref().map_or(1.0, |scaler| scaler.scale);
    Status { grad_norm: 0.0, loss_scale, skipped: snapshot.skipped }
}

fn bytes_per_element<E: optimizer::Engine>(optimizer: &optimizer::Optimizer<E>) -> f64 {
    let elements: usize = optimizer.params().map(|param| param.elements).sum();
    optimizer.bytes_held() as f64 / elements as f64
}

fn step_on_gpu(
    gpu: &Gpu,
    optimizer: &mut Optimizer,
    gradients: &Network,
    network: &mut Network,
) -> Result<Status, Error> {
    for (name, gradient) in gradients.tensors() {
        optimizer.set_grad(&name, &gradient)?;
    }
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    optimizer.step(&mut encoder)?;
    gpu.queue.submit([encoder.finish()]);

    // All copies are submitted before the first wait.
    let statistics = optimizer.read_statistics()?;
    let readbacks: Vec<_> =
        network.tensors().map(|(name, _)| optimizer.read_param(&name)).collect::<Result<_, _>>()?;
    for ((_, mut tensor), readback) in network.tensors_mut().zip(readbacks) {
        tensor.iter_mut().zip(readback.wait()?).for_each(|(value, new)| *value = new);
    }
    // These were copied before the parameters, so they have arrived. The host needs the loss scale
    // because it computes the next gradients. An engine that computes gradients on the GPU waits
    // for nothing: its kernel binds `optimizer.loss_scale()`, and it polls for statistics (see
    // examples/engine/monitor.rs).
    let statistics = statistics.wait()?;
    Ok(Status {
        grad_norm: statistics.grad_norm.into(),
        loss_scale: statistics.next_loss_scale,
        skipped: statistics.skipped.into(),
    })
}

fn step_on_cpu(
    optimizer: &mut CpuOptimizer<f32>,
    gradients: &Network,
    network: &mut Network,
) -> Result<Status, Error> {
    for (name, gradient) in gradients.tensors() {
        optimizer.set_grad(&name, &gradient)?;
    }
    optimizer.par_step()?;
    for (name, mut tensor) in network.tensors_mut() {
        tensor.iter_mut().zip(&optimizer.param(&name)?).for_each(|(value, new)| *value = *new);
    }
    Ok(Status {
        grad_norm: optimizer.grad_norm(),
        loss_scale: optimizer.loss_scale()?,
        skipped: optimizer.skipped(),
    })
}

/// The optimizer that an [`Engine`] is compared with: on one core of the CPU, in f32 as on the GPU.
pub struct Reference(CpuOptimizer<f32>);

impl Reference {
    /// Starts from the network's parameters.
    pub fn new(rule: impl Rule, network: &Network, control: &Control) -> Result<Self, Error> {
        Ok(Self(cpu_optimizer(rule, network, control)?))
    }

    /// Goes on from the same file as the engine.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        self.0.load().file(path).map(drop)
    }

    /// Takes one step with these gradients.
    pub fn step(&mut self, lr: f64, gradients: &Network) -> Result<(), Error> {
        self.0.set_base_lr(lr)?;
        for (name, gradient) in gradients.tensors() {
            self.0.set_grad(&name, &gradient)?;
        }
        self.0.step()
    }

    /// The largest absolute difference from the network's parameters; NaN if any difference is NaN.
    pub fn max_difference(&self, network: &Network) -> Result<f32, Error> {
        let mut max = 0.0;
        for (name, values) in network.tensors() {
            for (own, other) in self.0.param(&name)?.iter().zip(&values) {
                // The total order sorts NaN above all numbers.
                max = std::cmp::max_by(max, (own - other).abs(), f32::total_cmp);
            }
        }
        Ok(max)
    }
}

fn cpu_optimizer(
    rule: impl Rule,
    network: &Network,
    control: &Control,
) -> Result<CpuOptimizer<f32>, Error> {
    let tensors = network.tensors().map(|(name, values)| (name, values.shape().to_vec()));
    let mut optimizer = CpuOptimizer::builder()
        .group(control.modifiers.on(rule), tensors)
        .clip_grad_norm(control.max_norm)
        .grad_scaler(control.scaler)
        .storage("*", control.storage.clone())
        .build()?;
    for (name, values) in network.tensors() {
        optimizer.set_param(&name, &values)?;
    }
    Ok(optimizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use wgpu_optim::{Adam, SGD};

    /// A network before its first step, and its first gradients.
    fn example() -> (Network, Network) {
        let mut random = Random::new(0);
        (Network::new(&[3, 4, 2], &mut random), Network::new(&[3, 4, 2], &mut random))
    }

    fn scaled(network: &Network, factor: f32) -> Network {
        let mut scaled = network.clone();
        scaled.tensors_mut().for_each(|(_, mut values)| values *= factor);
        scaled
    }

    fn norm(network: &Network) -> f64 {
        let squares =
            network.tensors().map(|(_, values)| values.mapv(|x| f64::from(x).powi(2)).sum());
        squares.sum::<f64>().sqrt()
    }

    /// On the CPU, and on the GPU.
    fn engines(rule: impl Rule, network: &Network, control: &Control) -> [Engine; 2] {
        let gpu = Gpu::open().expect("these tests need a GPU or a software driver");
        [None, Some(&gpu)].map(|gpu| Engine::new(rule.clone(), network, control, gpu).unwrap())
    }

    #[test]
    fn the_reference_takes_the_same_steps_as_the_engine() {
        let (before, gradients) = example();
        let control = Control::new(1.0);
        let gradients = scaled(&gradients, control.scaler.init_scale);
        for (mut engine, tolerance) in
            engines(Adam::default(), &before, &control).into_iter().zip([0.0, 1e-6])
        {
            let mut network = before.clone();
            let mut reference = Reference::new(Adam::default(), &network, &control).unwrap();
            engine.step(0.01, &gradients, &mut network).unwrap();
            let difference = reference.max_difference(&network).unwrap();
            assert!(
                (difference - 0.01).abs() < 1e-5,
                "Adam's first steps have length lr: {difference}"
            );
            reference.step(0.01, &gradients).unwrap();
            assert!(reference.max_difference(&network).unwrap() <= tolerance);
        }
    }

    #[test]
    fn gradients_are_unscaled_and_clipped() {
        let (before, gradients) = example();
        let control = Control::new(0.5);
        let scale = control.scaler.init_scale;
        let gradients = scaled(&gradients, 3.0 / norm(&gradients) as f32);
        for mut engine in engines(SGD::default(), &before, &control) {
            let mut network = before.clone();
            let status = engine.step(1.0, &scaled(&gradients, scale), &mut network).unwrap();
            assert!((status.grad_norm - 3.0).abs() < 1e-5, "{status:?}");
            assert_eq!((status.loss_scale, status.skipped), (scale, 0));
            let mut step = scaled(&network, -1.0);
            step.tensors_mut().zip(before.tensors()).for_each(|((_, mut s), (_, b))| s += &b);
            assert!((norm(&step) - 0.5).abs() < 1e-5, "{}", norm(&step));
        }
    }

    #[test]
    fn a_step_whose_gradients_overflowed_is_skipped_and_halves_the_scale() {
        let (before, gradients) = example();
        let control = Control::new(1.0);
        for mut engine in engines(Adam::default(), &before, &control) {
            let mut network = before.clone();
            let overflow = scaled(&gradients, f32::INFINITY);
            let status = engine.step(0.01, &overflow, &mut network).unwrap();
            assert!(!status.grad_norm.is_finite());
            let halved = control.scaler.init_scale / 2.0;
            assert_eq!((status.loss_scale, status.skipped), (halved, 1));
            assert!(network.tensors().eq(before.tensors()), "nothing has changed");

            let status = engine.step(0.01, &scaled(&gradients, halved), &mut network).unwrap();
            assert!((status.grad_norm / norm(&gradients) - 1.0).abs() < 1e-5, "{status:?}");
            assert_eq!((status.loss_scale, status.skipped), (halved, 1));
            assert!(!network.tensors().eq(before.tensors()));
        }
    }

    #[test]
    fn the_scale_grows_after_good_steps() {
        let (mut network, gradients) = example();
        let control = Control::new(1.0);
        let GradScaler { init_scale, growth_interval, .. } = control.scaler;
        for mut engine in engines(Adam::default(), &network, &control) {
            let mut scale = init_scale;
            for _ in 0..growth_interval {
                assert_eq!(scale, init_scale);
                let gradients = scaled(&gradients, scale);
                scale = engine.step(0.01, &gradients, &mut network).unwrap().loss_scale;
            }
            assert_eq!(scale, 2.0 * init_scale);
        }
    }

    #[test]
    fn a_nan_parameter_is_reported() {
        let (mut network, _) = example();
        let reference = Reference::new(Adam::default(), &network, &Control::new(1.0)).unwrap();
        network.tensors_mut().next().unwrap().1.fill(f32::NAN);
        assert!(reference.max_difference(&network).unwrap().is_nan());
    }
}
