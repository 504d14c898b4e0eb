//! Looks into checkpoints: lists one, compares two, or stores one in other formats.
//!
//! ```text
//! cargo run --release --example checkpoint -- list run.safetensors
//! cargo run --release --example checkpoint -- compare run.safetensors other.safetensors
//! cargo run --release --example checkpoint -- convert run.safetensors small.safetensors \
//!     --format bf16 --states 8bit
//! ```

mod compare;
mod convert;
mod list;
mod table;
#[cfg(test)]
mod tests;

use clap::{Parser, Subcommand};
use convert::Formats;
use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks into checkpoints of wgpu-optim, and into PyTorch's that `scripts/torch_checkpoint.py`
/// made.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Groups with their hyperparameters, and every array
    List { file: PathBuf },
    /// What differs between two: settings, and the largest difference of each array. Ends with 1 if
    /// anything differs
    Compare { first: PathBuf, second: PathBuf },
    /// Stores a checkpoint in other formats
    Convert {
        file: PathBuf,
        output: PathBuf,
        #[command(flatten)]
        formats: Formats,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok((text, code)) => {
            let _ = writeln!(stdout(), "{}", text.trim_end());
            code
        }
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(String, ExitCode), Box<dyn Error>> {
    match command {
        Command::List { file } => Ok((list::list(&file)?, ExitCode::SUCCESS)),
        Command::Compare { first, second } => {
            let (text, is_same) = compare::compare(&first, &second)?;
            Ok((text, if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
        }
        Command::Convert { file, output, formats } => {
            Ok((convert::convert(&file, &output, &formats)?, ExitCode::SUCCESS))
        }
    }
}
