//! A rule of your own: cautious Lion, which wgpu-optim does not have.
//!
//! ```sh
//! cargo run --release --example custom_rule
//! ```
//!
//! The rule is cautious_lion.wgsl and its Rust side, cautious_lion.rs: the update of one element,
//! and what each element adds to two sums over its tensor. The library runs it on tensors in any
//! buffer, and on the CPU. This program trains with it and compares the GPU's steps with the CPU's.

mod cautious_lion;
mod print;
mod rosenbrock;
#[cfg(test)]
mod tests;
mod twin;

use cautious_lion::CautiousLion;
use clap::Parser;
use std::process::ExitCode;
use twin::{Twin, larger};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{Error, Optimizer, Param, Rule};

const RULE: CautiousLion = CautiousLion { lr: 2e-2, betas: (0.9, 0.99) };
const STEPS: usize = 400;

/// The tensors, with their numbers of elements: one is in the optimizer's arena, one in a buffer of
/// our own.
const TENSORS: [(&str, usize); 2] = [("arena", 2 * 1024), ("own", 2 * 1001)];

/// Elements before the second tensor in its buffer: not a multiple of 4, so that vec4 access, which
/// needs 16-byte alignment, is not possible.
const OFFSET: usize = 3;

/// The largest difference allowed between GPU and CPU after one step from the same state, relative
/// for numbers above 1. Rounding causes about 1e-6; a step in the wrong direction causes `lr` or
/// more.
const TOLERANCE: f64 = 1e-5;

/// Steps from one comparison to the next.
const COMPARE_EVERY: usize = 10;

/// Trains with a custom rule, on the GPU and on the CPU, and compares the two.
#[derive(Debug, Parser)]
struct Args {
    /// Print the WGSL of the kernel that contains the rule, and exit
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
        print!("{}", print::update_kernel()?);
        return Ok(());
    }
    let Some(adapter) = adapter() else {
        println!(
            "No GPU adapter found: training on the CPU only. To use a GPU, install its driver, or \
             a software driver (on Debian and Ubuntu: apt install mesa-vulkan-drivers)"
        );
        return Ok(train_on_cpu()?);
    };
    println!("{} ({})", adapter.get_info().name, adapter.get_info().backend);
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let differences = train_on_gpu(&RULE, &device, &queue)?;
    let [from_f32, from_f64] = differences;
    println!(
        "largest difference from the CPU: {from_f32:.1e} (f32), {from_f64:.1e} (f64), \
         allowed {TOLERANCE:e}"
    );
    if !agree(differences) {
        return Err("The WGSL and the Rust side of the rule compute different results".into());
    }
    Ok(())
}

/// Whether all differences are rounding errors. A NaN is not.
fn agree(differences: [f64; 2]) -> bool {
    differences.iter().all(|&difference| difference <= TOLERANCE)
}

fn adapter() -> Option<wgpu::Adapter> {
    // OpenGL is tried last: even the search for it can print warnings.
    [wgpu::Backends::PRIMARY, wgpu::Backends::GL].into_iter().find_map(|backends| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        descriptor.backends = wgpu::Backends::from_env().unwrap_or(backends);
        let instance = wgpu::Instance::new(descriptor);
        pollster::block_on(instance.request_adapter(&Default::default())).ok()
    })
}

/// Trains on the GPU. Returns the largest differences from an f32 and an f64 optimizer on the CPU.
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

/// An optimizer with a group for each tensor: the first in the arena, the second in a buffer that
/// also holds its gradient.
fn build<R: Rule>(
    rule: &R,
    device: &wgpu::Device,
    queue: &wgpu::Queue,
) -> Result<Optimizer, Error> {
    let [(first, first_len), (second, second_len)] = TENSORS;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("own"),
        size: 4 * (OFFSET + 2 * second_len) as u64,
        // STORAGE for the step, COPY_SRC for `read_param` and the like, COPY_DST for `set_grad`.
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let [param_offset, grad_offset] = [OFFSET, OFFSET + second_len].map(|at| 4 * at as u64);
    let own =
        Param::new(second, second_len).buffers((&buffer, param_offset), (&buffer, grad_offset));
    let mut optimizer = Optimizer::builder()
        .group(rule.clone(), [(first, first_len)])
        .group(rule.clone(), [own])
        .build(device, queue)?;
    for (name, len) in TENSORS {
        optimizer.set_param(name, &rosenbrock::start(len / 2))?;
    }
    Ok(optimizer)
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

/// Decreases linearly to 0: steps of constant size do not converge otherwise.
fn lr_at<R: Rule>(rule: &R, step: usize) -> f64 {
    rule.lr() * (1.0 - step as f64 / STEPS as f64)
}

fn report(step: usize, loss: f64) {
    if step.is_multiple_of(STEPS / 5) || step + 1 == STEPS {
        println!("step {step:3}  loss {loss:.4}");
    }
}
