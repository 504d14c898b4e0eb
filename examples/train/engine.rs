//! The optimizer's step: on the GPU, or on all cores of the CPU where there is none.

use crate::gpu::Gpu;
use crate::network::Network;
use wgpu_optim::{CpuOptimizer, Error, Optimizer, Rule, wgpu};

/// An optimizer of a network's parameters.
pub enum Engine {
    Gpu { gpu: Gpu, optimizer: Box<Optimizer> },
    Cpu { optimizer: CpuOptimizer<f32> },
}

impl Engine {
    /// Starts from the network's parameters, on the GPU if one is given.
    pub fn new(rule: impl Rule, network: &Network, gpu: Option<&Gpu>) -> Result<Self, Error> {
        let Some(gpu) = gpu else {
            return Ok(Self::Cpu { optimizer: cpu_optimizer(rule, network)? });
        };
        let optimizer = Optimizer::builder()
            .group(rule, network.tensors().map(|(name, values)| (name, values.len())))
            .build(&gpu.device, &gpu.queue)?;
        for (name, values) in network.tensors() {
            optimizer.set_param(&name, &values)?;
        }
        Ok(Self::Gpu { gpu: gpu.clone(), optimizer: Box::new(optimizer) })
    }

    /// Takes one step with these gradients, and brings the new parameters into the network.
    pub fn step(&mut self, gradients: &Network, network: &mut Network) -> Result<(), Error> {
        match self {
            Self::Gpu { gpu, optimizer } => step_on_gpu(gpu, optimizer, gradients, network),
            Self::Cpu { optimizer } => step_on_cpu(optimizer, gradients, network),
        }
    }
}

fn step_on_gpu(
    gpu: &Gpu,
    optimizer: &mut Optimizer,
    gradients: &Network,
    network: &mut Network,
) -> Result<(), Error> {
    for (name, gradient) in gradients.tensors() {
        optimizer.set_grad(&name, &gradient)?;
    }
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    optimizer.step(&mut encoder)?;
    gpu.queue.submit([encoder.finish()]);

    // Every copy is under way before the first is waited for.
    let readbacks: Vec<_> =
        network.tensors().map(|(name, _)| optimizer.read_param(&name)).collect::<Result<_, _>>()?;
    for ((_, mut tensor), readback) in network.tensors_mut().zip(readbacks) {
        tensor.iter_mut().zip(readback.wait()?).for_each(|(value, new)| *value = new);
    }
    Ok(())
}

fn step_on_cpu(
    optimizer: &mut CpuOptimizer<f32>,
    gradients: &Network,
    network: &mut Network,
) -> Result<(), Error> {
    for (name, gradient) in gradients.tensors() {
        optimizer.set_grad(&name, &gradient)?;
    }
    optimizer.par_step()?;
    for (name, mut tensor) in network.tensors_mut() {
        tensor.iter_mut().zip(optimizer.param(&name)?).for_each(|(value, new)| *value = *new);
    }
    Ok(())
}

/// What an [`Engine`] is compared with: the optimizer on one core of the CPU, in f32 as on the GPU.
pub struct Reference(CpuOptimizer<f32>);

impl Reference {
    /// Starts from the network's parameters.
    pub fn new(rule: impl Rule, network: &Network) -> Result<Self, Error> {
        Ok(Self(cpu_optimizer(rule, network)?))
    }

    /// Takes one step with these gradients.
    pub fn step(&mut self, gradients: &Network) -> Result<(), Error> {
        for (name, gradient) in gradients.tensors() {
            self.0.set_grad(&name, &gradient)?;
        }
        self.0.step()
    }

    /// The largest absolute difference from the network's parameters; NaN if any is.
    pub fn max_difference(&self, network: &Network) -> Result<f32, Error> {
        let mut max = 0.0;
        for (name, values) in network.tensors() {
            for (own, other) in self.0.param(&name)?.iter().zip(&values) {
                // The total order puts NaN above all numbers.
                max = std::cmp::max_by(max, (own - other).abs(), f32::total_cmp);
            }
        }
        Ok(max)
    }
}

fn cpu_optimizer(rule: impl Rule, network: &Network) -> Result<CpuOptimizer<f32>, Error> {
    let mut optimizer = CpuOptimizer::builder()
        .group(rule, network.tensors().map(|(name, values)| (name, values.len())))
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
    use wgpu_optim::Adam;

    /// A network before its first step, and its first gradients.
    fn example() -> (Network, Network) {
        let mut random = Random::new(0);
        (Network::new(&[3, 4, 2], &mut random), Network::new(&[3, 4, 2], &mut random))
    }

    #[test]
    fn the_reference_takes_the_same_steps_as_the_engine() {
        let (mut network, gradients) = example();
        let mut engine = Engine::new(Adam::default(), &network, None).unwrap();
        let mut reference = Reference::new(Adam::default(), &network).unwrap();
        engine.step(&gradients, &mut network).unwrap();
        let lr = Adam::default().lr as f32;
        let difference = reference.max_difference(&network).unwrap();
        assert!((difference - lr).abs() < 1e-5, "Adam's first steps have length lr: {difference}");
        reference.step(&gradients).unwrap();
        assert_eq!(reference.max_difference(&network), Ok(0.0));
    }

    #[test]
    fn a_parameter_that_is_no_number_is_seen() {
        let (mut network, _) = example();
        let reference = Reference::new(Adam::default(), &network).unwrap();
        network.tensors_mut().next().unwrap().1.fill(f32::NAN);
        assert!(reference.max_difference(&network).unwrap().is_nan());
    }
}
