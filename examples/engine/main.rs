//! A small training engine that uses wgpu-optim: a two-layer perceptron learns to classify
//! handwritten digits.
//!
//! ```sh
//! cargo run --release --example engine
//! cargo run --release --example engine -- --in-parts       # the gradients of one layer at a time
//! cargo run --release --example engine -- --states 8bit    # states in a quarter
//! ```
//!
//! Everything except the optimizer belongs to the engine: the device, the buffers, the kernels of
//! the forward and backward passes (linear.wgsl, cross_entropy.wgsl) and the command encoder.
//! Parameters and gradients stay on the GPU. The code that uses the optimizer is in this file, in
//! `Parameter` (tensor.rs) and, for statistics during training, in `Monitor` (monitor.rs).

mod digits;
mod kernel;
mod monitor;
mod network;
mod tensor;
#[cfg(test)]
mod tests;

use clap::{Parser, ValueEnum};
use digits::Digits;
use monitor::Monitor;
use network::{Batch, Network};
use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Instant;
use tensor::{Gradients, Tensor};
use wgpu_optim::schedule::{CosineAnnealing, Schedule};
use wgpu_optim::{AdamW, Format, Optimizer, Storage};

const SEED: u64 = 1;
const EPOCHS: usize = 20;
/// Divides the size of the training set.
const BATCH_SIZE: usize = 50;
const LEARNING_RATE: f64 = 1e-2;
/// The global norm that gradients are clipped to, where all are there at once.
const MAX_NORM: f64 = 1.0;

/// Trains a small network on handwritten digits, all on the GPU.
#[derive(Debug, Parser)]
struct Args {
    /// Step each layer in the middle of the backward pass, so that the gradients of all layers
    /// share the memory of one layer's; their norm is not clipped then
    #[arg(long)]
    in_parts: bool,

    /// Format of the optimizer's states, of layers of 4096 parameters or more
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    states: StateFormat,
}

/// How states are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateFormat {
    /// 32 bits
    F32,
    /// 8 bits, with a scale for each 256
    #[value(name = "8bit")]
    Block8,
}

/// How a trainer is set up.
#[derive(Debug, Clone)]
struct Setup {
    gradients: Gradients,
    /// The global norm that gradients are clipped to, which needs them all.
    max_norm: Option<f64>,
    storage: Storage,
}

impl From<Args> for Setup {
    fn from(Args { in_parts, states }: Args) -> Self {
        let storage = match states {
            StateFormat::F32 => Storage::f32(),
            StateFormat::Block8 => Storage::f32().states(Format::Block8),
        };
        match in_parts {
            true => Self { gradients: Gradients::OfOneLayer, max_norm: None, storage },
            false => Self { gradients: Gradients::OfAllLayers, max_norm: Some(MAX_NORM), storage },
        }
    }
}

fn main() -> ExitCode {
    match run(Args::parse().into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(setup: Setup) -> Result<(), Box<dyn Error>> {
    let adapter = adapter().ok_or(
        "No GPU adapter found: install its driver, or a software driver for Vulkan (on Debian and \
         Ubuntu: apt install mesa-vulkan-drivers)",
    )?;
    let info = adapter.get_info();
    println!("{} ({})", info.name, info.backend);
    // The optimizer needs no features, but some make it faster; the default limits are enough.
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: adapter.features() & wgpu_optim::Gpu::FEATURES,
        ..Default::default()
    }))?;

    let mut trainer = Trainer::new(device, queue, setup)?;
    let [parameters, gradients] = trainer.bytes;
    println!("gradients take {gradients} bytes, those of all layers would take {parameters}");
    let start = Instant::now();
    for epoch in 0..EPOCHS {
        let training = trainer.epoch()?;
        if epoch % 5 == 4 {
            let test = trainer.evaluate()?;
            let norm = match &trainer.monitor.latest {
                Some(latest) => format!("  gradient norm {:.4}", latest.grad_norm),
                None => String::new(),
            };
            println!(
                "epoch {:2}  training loss {:.4}{norm}  test loss {:.4}  test accuracy {:.2} %",
                epoch + 1,
                training.loss,
                test.loss,
                100.0 * test.accuracy
            );
        }
    }
    let steps_per_second = trainer.steps as f64 / start.elapsed().as_secs_f64();
    println!("test accuracy {:.4}, {steps_per_second:.0} steps/s", trainer.evaluate()?.accuracy);
    Ok(())
}

fn adapter() -> Option<wgpu::Adapter> {
    // OpenGL is tried last: even the search for it can print warnings.
    [wgpu::Backends::PRIMARY, wgpu::Backends::GL].into_iter().find_map(|backends| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = backends;
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let instance = wgpu::Instance::new(descriptor);
        pollster::block_on(instance.request_adapter(&options)).ok()
    })
}

/// The engine and its training state.
struct Trainer {
    device: wgpu::Device,
    queue: wgpu::Queue,
    training_set: Digits,
    test_set: Digits,
    training_batch: Batch,
    test_batch: Batch,
    optimizer: Optimizer,
    setup: Setup,
    /// Bytes of the parameters, and of the gradients.
    bytes: [u64; 2],
    schedule: Schedule,
    /// Steps so far.
    steps: u64,
    monitor: Monitor,
}

/// Mean loss and accuracy over an epoch or the test set.
struct Score {
    loss: f32,
    accuracy: f32,
}

impl Trainer {
    fn new(device: wgpu::Device, queue: wgpu::Queue, setup: Setup) -> Result<Self, Box<dyn Error>> {
        let [training_set, test_set] = Digits::upload(&device, &queue, SEED)?;
        let network = Network::new(&device, &queue, SEED, setup.gradients);
        let training_batch = network.batch(&device, BATCH_SIZE);
        let test_batch = network.batch(&device, test_set.len);

        // Two groups: only weights have weight decay. One dispatch still updates both.
        let adamw = AdamW { lr: LEARNING_RATE, ..Default::default() };
        let mut builder = Optimizer::builder()
            .group(adamw, network.weights())
            .group(AdamW { weight_decay: 0.0, ..adamw }, network.biases())
            .storage("*", setup.storage.clone());
        if let Some(max_norm) = setup.max_norm {
            builder = builder.clip_grad_norm(max_norm);
        }
        if setup.gradients == Gradients::OfOneLayer {
            builder = builder.shared_grads();
        }
        let optimizer = builder.build(&device, &queue)?;
        let steps = EPOCHS * training_set.len.div_ceil(BATCH_SIZE);
        let schedule = CosineAnnealing::new(LEARNING_RATE, steps as u64).into();
        Ok(Self {
            device,
            queue,
            training_set,
            test_set,
            training_batch,
            test_batch,
            optimizer,
            setup,
            bytes: network.bytes,
            schedule,
            steps: 0,
            monitor: Monitor::default(),
        })
    }

    /// Trains with each digit of the training set once.
    fn epoch(&mut self) -> Result<Score, Box<dyn Error>> {
        for first in (0..self.training_set.len).step_by(BATCH_SIZE) {
            self.step(first)?;
        }
        self.take_score(&self.training_batch, self.training_set.len)
    }

    /// Trains with one batch: the digits from `first` on. It does not wait for the GPU.
    fn step(&mut self, first: usize) -> Result<(), Box<dyn Error>> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.training_batch.load(&mut encoder, &self.training_set, first);
        // Kernels read hyperparameters from a buffer, so that a change recompiles nothing.
        self.optimizer.set_base_lr(self.schedule.lr(self.steps))?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.training_batch.forward(&mut pass);
        // The step is recorded like the engine's own work: it runs after the backward pass, or that
        // of each layer, and before the next batch. wgpu inserts the barriers.
        match self.setup.gradients {
            Gradients::OfAllLayers => {
                self.training_batch.backward.iter().for_each(|layer| layer.record(&mut pass));
                self.optimizer.step_in_pass(&mut pass)?;
            }
            Gradients::OfOneLayer => {
                let mut step = self.optimizer.begin_step()?;
                for layer in &self.training_batch.backward {
                    layer.record(&mut pass);
                    // From here on the memory of these gradients is the next layer's.
                    step.params_in_pass(&mut pass, &layer.parameters)?;
                }
                step.end()?;
            }
        }
        drop(pass); // ends the pass, so that the encoder can be finished
        self.queue.submit([encoder.finish()]);
        self.steps += 1;
        if self.setup.max_norm.is_some() {
            self.monitor.update(&self.device, &self.optimizer)?;
        }
        Ok(())
    }

    /// Classifies the test set, without training.
    fn evaluate(&self) -> Result<Score, Box<dyn Error>> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.test_batch.load(&mut encoder, &self.test_set, 0);
        self.test_batch.forward(&mut encoder.begin_compute_pass(&Default::default()));
        self.queue.submit([encoder.finish()]);
        self.take_score(&self.test_batch, self.test_set.len)
    }

    /// Waits for the scores of this many digits, and resets them.
    fn take_score(&self, batch: &Batch, digits: usize) -> Result<Score, Box<dyn Error>> {
        let scores: Vec<[f32; 2]> = self.read(&batch.scores)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&batch.scores.buffer, 0, None);
        self.queue.submit([encoder.finish()]);

        let mean =
            |column: usize| scores.iter().map(|row| row[column]).sum::<f32>() / digits as f32;
        Ok(Score { loss: mean(0), accuracy: mean(1) })
    }

    /// Reads a tensor back after everything submitted so far has run.
    fn read<T: bytemuck::Pod>(&self, tensor: &Tensor) -> Result<Vec<T>, Box<dyn Error>> {
        let (sender, receiver) = mpsc::channel();
        let slice = tensor.buffer.slice(..);
        wgpu::util::DownloadBuffer::read_buffer(&self.device, &self.queue, &slice, move |data| {
            // Fails only if the receiver was dropped.
            let _ = sender.send(data);
        });
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let data = receiver.recv()??;
        Ok(bytemuck::pod_collect_to_vec(&data))
    }
}
