//! Trains a small neural network on handwritten digits, once with each optimizer, with the
//! optimizer's steps on the GPU:
//!
//! ```text
//! cargo run --release --example train
//! ```
//!
//! [`engine`] uses the library: steps that clip the global gradient norm, unscale gradients and are
//! skipped on overflow, and statistics for the progress display. [`training`] adds the
//! learning-rate schedule; the rest is what any training program needs.

mod chart;
mod cli;
mod digits;
mod engine;
mod gpu;
mod half;
mod network;
mod progress;
mod random;
mod run;
mod table;
mod training;

use clap::Parser;
use cli::Args;
use digits::{CLASSES, Digits, PIXELS};
use engine::Control;
use gpu::Gpu;
use random::Random;
use run::Files;
use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use table::power_of_2;
use training::{Ending, Outcome, Training};

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
    args.check()?;
    chart::check_writable(&args.output)?;
    let training = prepare(args)?;
    if args.save.is_some() {
        run::listen()?;
    }
    let mut outcomes = Vec::new();
    for name in args.optimizers() {
        match training.run(name, args.lr.unwrap_or(name.default_lr()))? {
            Ending::Finished(outcome) => outcomes.push(outcome),
            Ending::Stopped(steps) => return stopped(args, steps),
        }
    }
    chart::write(&args.output, &training, &outcomes)?;
    report(args, &training, &outcomes)
}

/// Says how to go on.
fn stopped(args: &Args, steps: usize) -> Result<(), Box<dyn Error>> {
    let path = args.save.as_deref().unwrap_or_else(|| Path::new(""));
    let path = path.display();
    writeln!(
        stdout(),
        "\nStopped after {steps} steps, which {path} has. To go on, repeat the command with \
         --resume {path}"
    )?;
    Ok(())
}

/// Loads the data, finds a GPU, and prints a line about each.
fn prepare(args: &Args) -> Result<Training, Box<dyn Error>> {
    let (train, test) = Digits::load(&mut Random::new(args.seed))?;
    let sizes = [&[PIXELS], args.hidden.as_slice(), &[CLASSES]].concat();
    let layers: Vec<String> = sizes.iter().map(usize::to_string).collect();
    writeln!(
        stdout(),
        "Network    {}, trained on {} digits, tested on {}",
        layers.join(" → "),
        train.len(),
        test.len()
    )?;
    let control =
        Control { storage: args.storage(), modifiers: args.modifiers(), ..Control::new(args.clip) };
    writeln!(
        stdout(),
        "Gradients  in f16, with an initial loss scale of {}; clipped to a norm of {:?}",
        power_of_2(control.scaler.init_scale),
        control.max_norm
    )?;
    let gpu = find_gpu(args.cpu)?;
    let &Args { epochs, batch_size, seed, .. } = args;
    let (save, resume) = (args.save.clone(), args.resume.clone());
    let files = Files { save, resume, stop_after: args.stop_after };
    Ok(Training { train, test, sizes, epochs, batch_size, seed, control, gpu, files })
}

/// The GPU to train on, if there is one; prints a line about it.
fn find_gpu(cpu_wanted: bool) -> std::io::Result<Option<Gpu>> {
    if cpu_wanted {
        writeln!(stdout(), "Adapter    none: the optimizer runs on all cores of the CPU")?;
        return Ok(None);
    }
    match Gpu::open() {
        Ok(gpu) => {
            writeln!(stdout(), "Adapter    {}", gpu.description)?;
            Ok(Some(gpu))
        }
        Err(reason) => {
            writeln!(
                stdout(),
                "{reason}: training with the CPU optimizer instead. To train on a GPU, install a \
                 Vulkan driver (on Debian or Ubuntu: apt install mesa-vulkan-drivers)."
            )?;
            Ok(None)
        }
    }
}

fn report(args: &Args, training: &Training, outcomes: &[Outcome]) -> Result<(), Box<dyn Error>> {
    let difference =
        if training.gpu.is_some() { "max |GPU − CPU|" } else { "max |parallel − serial|" };
    writeln!(stdout(), "\n{}\n", table::table(outcomes, difference))?;
    for outcome in outcomes.iter().filter(|outcome| !outcome.train_loss.is_finite()) {
        writeln!(
            stdout(),
            "{} diverged at learning rate {:?}: try a smaller --lr.",
            outcome.name.title(),
            outcome.lr
        )?;
    }
    writeln!(stdout(), "Loss curves: {}", args.output.display())?;
    Ok(())
}
