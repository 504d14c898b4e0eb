//! A rule of your own: cautious Lion, which wgpu-optim does not have.
//!
//! ```sh
//! cargo run --release --example custom_rule
//! ```
//!
//! The rule is cautious_lion.wgsl, a function of one element, and cautious_lion.rs, its Rust side.
//! Written once each, it runs on tensors at any place, and on the CPU. This program trains with it,
//! and holds the GPU to the CPU's result, step by step.

mod cautious_lion;
mod rosenbrock;
#[cfg(test)]
mod tests;

use cautious_lion::CautiousLion;
use clap::Parser;
use std::process::ExitCode;
use wgpu_optim::format::Access;
use wgpu_optim::shader::{self, Extras, Stage, Variant};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{CpuOptimizer, Error, Optimizer, Param, Real, Rule};

const RULE: CautiousLion = CautiousLion { lr: 2e-2, betas: (0.9, 0.99) };
const STEPS: usize = 400;

/// The tensors, with their numbers of elements: one lies in the optimizer's arena, one in a buffer of
/// our own.
const TENSORS: [(&str, usize); 2] = [("arena", 2 * 1024), ("own", 2 * 1001)];

/// Elements before the second tensor in its buffer: not a multiple of 4, so that no vec4 fits.
const OFFSET: usize = 3;

/// The largest difference between GPU and CPU after one step from the same state, relative to numbers
/// above 1. Roundings make some 1e-6; a step in the wrong direction makes `lr` or more.
const TOLERANCE: f64 = 1e-5;

/// Steps from one comparison to the next.
const COMPARE_EVERY: usize = 10;

/// Trains with a rule of one's own, on the GPU and on the CPU, and compares the two.
#[derive(Debug, Parser)]
struct Args {
    /// Print the WGSL that the rule becomes a part of, and do nothing else
    #[arg(long)]
    print: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    if args.print {
        print!("{}", composed()?);
        return Ok(());
    }
    let Some(adapter) = adapter() else {
        println!(
            "No GPU adapter found, so only the CPU trains. For a GPU, install its driver, or a software \
             one (on Debian and Ubuntu: apt install mesa-vulkan-drivers)"
        );
        return Ok(train_on_cpu()?);
    };
    println!("{} ({})", adapter.get_info().name, adapter.get_info().backend);
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let differences = train_on_gpu(&RULE, &device, &queue)?;
    let [from_f32, from_f64] = differences;
    println!(
        "largest difference from the CPU: {from_f32:.1e} (f32), {from_f64:.1e} (f64), allowed {TOLERANCE:e}"
    );
    if !agree(differences) {
        return Err("The WGSL and the Rust side of the rule do not compute the same".into());
    }
    Ok(())
}

/// The kernel's WGSL: the rule between what the driver puts before and after it.
fn composed() -> Result<String, Error> {
    let (stage, access, shared) = (Stage::Step, Access::Vec4, false);
    let variant = Variant { stage, access, shared, extras: Extras::default() };
    Ok(shader::link(&RULE, TENSORS.len(), &variant)?.text)
}

/// Whether all differences are mere rounding. A NaN is not.
fn agree(differences: [f64; 2]) -> bool {
    differences.iter().all(|&difference| difference <= TOLERANCE)
}

fn adapter() -> Option<wgpu::Adapter> {
    // OpenGL only where there is nothing better: the mere search for it can print warnings.
    [wgpu::Backends::PRIMARY, wgpu::Backends::GL].into_iter().find_map(|backends| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        descriptor.backends = wgpu::Backends::from_env().unwrap_or(backends);
        let instance = wgpu::Instance::new(descriptor);
        pollster::block_on(instance.request_adapter(&Default::default())).ok()
    })
}

/// Trains on the GPU; the largest differences of an f32 and an f64 twin from it.
fn train_on_gpu<R: Rule>(
    rule: &R,
    device: &wgpu::Device,
    queue: &wgpu::Queue,
) -> Result<[f64; 2], Error> {
    let mut optimizer = build(rule, device, queue)?;
    let mut single = Twin::<f32>::new(rule)?;
    let mut double = Twin::<f64>::new(rule)?;
    let mut largest = [0.0, 0.0];
    for step in 0..STEPS {
        let mut losses = 0.0;
        for (name, _) in TENSORS {
            let points = optimizer.read_param(name)?.wait()?;
            losses += rosenbrock::loss(&points) / TENSORS.len() as f64;
            optimizer.set_grad(name, &rosenbrock::gradient(&points))?;
        }
        report(step, losses);
        for group in 0..TENSORS.len() {
            optimizer.set_lr(group, lr_at(rule, step))?;
        }

        let compare = step % COMPARE_EVERY == 0;
        if compare {
            single.follow(&optimizer)?;
            double.follow(&optimizer)?;
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        if compare {
            let found = [single.step(&optimizer)?, double.step(&optimizer)?];
            largest = [0, 1].map(|k| larger(largest[k], found[k]));
        }
    }
    Ok(largest)
}

/// An optimizer with a group for each tensor: the first in the arena, the second in a buffer with its
/// gradient.
fn build<R: Rule>(
    rule: &R,
    device: &wgpu::Device,
    queue: &wgpu::Queue,
) -> Result<Optimizer, Error> {
    let [(first, first_len), (second, second_len)] = TENSORS;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("own"),
        size: 4 * (OFFSET + 2 * second_len) as u64,
        // To be updated; copied from and to by `read_param`, `set_grad` and the like.
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let [param_offset, grad_offset] = [OFFSET, OFFSET + second_len].map(|at| 4 * at as u64);
    let own =
        Param::new(second, second_len).buffers(&buffer, &buffer).offsets(param_offset, grad_offset);
    let optimizer = Optimizer::builder()
        .group(rule.clone(), [(first, first_len)])
        .group(rule.clone(), [own])
        .build(device, queue)?;
    for (name, len) in TENSORS {
        optimizer.set_param(name, &rosenbrock::start(len / 2))?;
    }
    Ok(optimizer)
}

/// The same optimizer on the CPU.
///
/// It follows the GPU, and the two are compared one step on. Left to themselves they would part sooner
/// or later: where the terms of a sign cancel, the last bit decides on a step up or down.
struct Twin<T> {
    optimizer: CpuOptimizer<T>,
    states: &'static [&'static str],
}

impl<T: Real> Twin<T> {
    fn new<R: Rule>(rule: &R) -> Result<Self, Error> {
        let [first, second] = TENSORS;
        let optimizer = CpuOptimizer::builder()
            .group(rule.clone(), [first])
            .group(rule.clone(), [second])
            .build()?;
        Ok(Self { optimizer, states: <R::State<f64> as wgpu_optim::Fields<f64>>::NAMES })
    }

    /// Takes over parameters, gradients, states and learning rates.
    fn follow(&mut self, gpu: &Optimizer) -> Result<(), Error> {
        let convert = |values: Vec<f32>| {
            values.into_iter().map(|x| T::from_f64(x.into())).collect::<Vec<_>>()
        };
        for (group, (name, _)) in TENSORS.into_iter().enumerate() {
            self.optimizer.set_lr(group, gpu.rule(group)?.lr())?;
            self.optimizer.set_param(name, &convert(gpu.read_param(name)?.wait()?))?;
            self.optimizer.set_grad(name, &convert(gpu.read_grad(name)?.wait()?))?;
            for state in self.states {
                let values = convert(gpu.read_state(name, state)?.wait()?);
                self.optimizer.set_state(name, state, &values)?;
            }
        }
        Ok(())
    }

    /// Takes a step, and gives the largest difference from a GPU that has taken it too.
    fn step(&mut self, gpu: &Optimizer) -> Result<f64, Error> {
        self.optimizer.step()?;
        let mut largest = 0.0;
        let mut compare = |own: T, found: f32| {
            let own = own.to_f64();
            let difference = (own - f64::from(found)).abs() / own.abs().max(1.0);
            largest = larger(largest, difference);
        };
        for (name, _) in TENSORS {
            let found = gpu.read_param(name)?.wait()?;
            self.optimizer.param(name)?.iter().zip(found).for_each(|(&p, q)| compare(p, q));
            for state in self.states {
                let found = gpu.read_state(name, state)?.wait()?;
                let own = self.optimizer.state(name, state)?;
                own.iter().zip(found).for_each(|(&s, t)| compare(s, t));
            }
        }
        Ok(largest)
    }
}

/// Trains without a GPU.
fn train_on_cpu() -> Result<(), Error> {
    let mut optimizer = Twin::<f32>::new(&RULE)?.optimizer;
    for (name, len) in TENSORS {
        optimizer.set_param(name, &rosenbrock::start(len / 2))?;
    }
    for step in 0..STEPS {
        let mut losses = 0.0;
        for (group, (name, _)) in TENSORS.into_iter().enumerate() {
            let points = optimizer.param(name)?.to_vec();
            losses += rosenbrock::loss(&points) / TENSORS.len() as f64;
            optimizer.set_grad(name, &rosenbrock::gradient(&points))?;
            optimizer.set_lr(group, lr_at(&RULE, step))?;
        }
        report(step, losses);
        optimizer.step()?;
    }
    Ok(())
}

/// Falls in a line: steps of a sign's size come to rest no other way.
fn lr_at<R: Rule>(rule: &R, step: usize) -> f64 {
    rule.lr() * (1.0 - step as f64 / STEPS as f64)
}

fn report(step: usize, loss: f64) {
    if step.is_multiple_of(STEPS / 5) || step + 1 == STEPS {
        println!("step {step:3}  loss {loss:.4}");
    }
}

/// The larger of two, or NaN if one is: `f64::max` would hide it.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
