//! The paths of every optimizer on two test functions, Rosenbrock's and Beale's.
//!
//! ```sh
//! cargo run --release --example landscape
//! ```
//!
//! Thousands of starting points are one parameter in the optimizer's arena. The example's kernel
//! (gradient.wgsl) reads it there and writes its gradient; the step follows in the same compute
//! pass, and copies on the GPU record the paths. See on_gpu.rs.

mod cli;
mod contestants;
mod contours;
mod descent;
mod function;
#[path = "../train/gpu.rs"]
mod gpu;
mod lines;
mod on_cpu;
mod on_gpu;
mod picture;
mod table;

use clap::Parser;
use cli::Args;
use descent::Descent;
use function::Function;
use gpu::Gpu;
use picture::Panel;
use std::error::Error;
use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    // A folder that cannot be created is reported before the work instead of after it.
    fs::create_dir_all(&args.output).map_err(|error| cannot_write(args, &error))?;
    let gpu = find_gpu()?;
    for function in args.functions() {
        writeln!(stdout(), "{}", table::heading(function, args.starts, args.steps))?;
        let panels = descend(args, gpu.as_ref(), function)?;
        let path = args.output.join(function.name()).with_extension("svg");
        fs::write(&path, picture::draw(function, args.steps, &panels)?)
            .map_err(|error| cannot_write(args, &error))?;
        writeln!(stdout(), "Picture: {}", path.display())?;
    }
    Ok(())
}

/// The GPU to use, if there is one; prints a line about it.
fn find_gpu() -> std::io::Result<Option<Gpu>> {
    match Gpu::open() {
        Ok(gpu) => {
            writeln!(stdout(), "Adapter: {}", gpu.description)?;
            Ok(Some(gpu))
        }
        Err(reason) => {
            writeln!(
                stdout(),
                "{reason}: using CpuOptimizer::par_step on the CPU instead. To use a GPU, install \
                 its driver, or a software driver for Vulkan (on Debian and Ubuntu: apt install \
                 mesa-vulkan-drivers)."
            )?;
            Ok(None)
        }
    }
}

/// Minimizes a function with every rule, and prints the results.
fn descend(
    args: &Args,
    gpu: Option<&Gpu>,
    function: Function,
) -> Result<Vec<Panel>, Box<dyn Error>> {
    let starts = descent::starts(function, args.starts);
    let mut panels = Vec::new();
    for contestant in args.contestants() {
        let rule = contestant.rule(function, args.lr);
        let lr = rule.lr();
        let descent = Descent { function, rule, starts: &starts, steps: args.steps };
        let outcome = match gpu {
            Some(gpu) => on_gpu::run(gpu, &descent)?,
            None => on_cpu::run(&descent)?,
        };
        writeln!(stdout(), "{}", table::row(&contestant.title, lr, args.steps, &outcome))?;
        panels.push(Panel { title: contestant.title, lr, outcome });
    }
    Ok(panels)
}

fn cannot_write(args: &Args, error: &std::io::Error) -> String {
    format!("cannot write to {}: {error}. Give another folder with --output", args.output.display())
}
