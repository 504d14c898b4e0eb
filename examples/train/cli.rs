//! The command line.

use crate::digits::TRAIN_DIGITS;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use wgpu_optim::{Average, AverageKind, Format, Modifiers, Rounding, Storage};

/// Trains a small neural network on handwritten digits, once with each optimizer.
///
/// The forward and backward passes run on the CPU, in ndarray; the optimizer's step runs on the
/// GPU. A second optimizer on the CPU gets the same gradients, and at the end the parameters of
/// both are compared. Without a GPU driver the training runs on all cores of the CPU.
///
/// The backward pass rounds to f16, as mixed-precision training does, so the loss is scaled. The
/// initial scale is too large on purpose: the first steps overflow and are skipped until the scale
/// is small enough.
///
/// wgpu's environment variables select the GPU, for example WGPU_BACKEND=vulkan or
/// WGPU_POWER_PREF=low.
#[derive(Debug, Parser)]
#[command(after_help = "Example with two optimizers and three hidden layers:
  cargo run --release --example train -- --optimizer adam,sgd --hidden 256,128,64 --epochs 20")]
pub struct Args {
    /// Optimizers to train with, separated by commas [default: all]
    #[arg(long = "optimizer", value_name = "NAME", value_delimiter = ',')]
    optimizers: Vec<OptimizerName>,

    /// Passes over the training digits
    #[arg(long, value_name = "COUNT", default_value = "30")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub epochs: usize,

    /// Digits in a batch
    #[arg(long, value_name = "COUNT", default_value = "50")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=TRAIN_DIGITS as u64))]
    pub batch_size: usize,

    /// Peak learning rate of all optimizers, between warm-up and cosine annealing to 0
    /// [default: each its own, see --optimizer]
    #[arg(long, value_name = "RATE", value_parser = positive, allow_negative_numbers = true)]
    pub lr: Option<f64>,

    /// Global norm that gradients are clipped to
    #[arg(long, value_name = "NORM", default_value = "1")]
    #[arg(value_parser = positive, allow_negative_numbers = true)]
    pub clip: f64,

    /// Seed of the split into training and test digits, the initial parameters and the batches
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub seed: u64,

    /// Units of each hidden layer, separated by commas
    #[arg(long, value_name = "UNITS", value_delimiter = ',', default_value = "128,64")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=8192))]
    pub hidden: Vec<usize>,

    /// Format of parameters and gradients
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    format: ParamFormat,

    /// Format of the optimizer's states, of layers of 4096 parameters or more
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    states: StateFormat,

    /// Keep an average of the parameters, and test it beside the parameters themselves
    #[arg(long)]
    average: bool,

    /// Mask updates where they disagree in sign with the gradient
    #[arg(long)]
    cautious: bool,

    /// File to save the run to: at the end of every epoch, and when it is stopped by Ctrl-C. For
    /// one optimizer
    #[arg(long, value_name = "PATH")]
    pub save: Option<PathBuf>,

    /// File to go on from, saved by a run with the same arguments
    #[arg(long, value_name = "PATH")]
    pub resume: Option<PathBuf>,

    /// Stop after so many steps, as Ctrl-C would
    #[arg(long, value_name = "STEPS", requires = "save")]
    pub stop_after: Option<usize>,

    /// Run the optimizer's steps on the CPU, even if there is a GPU
    #[arg(long)]
    pub cpu: bool,

    /// File for the picture of the loss curves, an SVG
    #[arg(long, value_name = "PATH", default_value = "target/train/loss.svg")]
    pub output: PathBuf,
}

impl Args {
    /// How parameters, gradients and states are stored.
    pub fn storage(&self) -> Storage {
        let storage = match self.format {
            ParamFormat::F32 => Storage::f32(),
            ParamFormat::Bf16 => Storage::bf16(Rounding::Remainder),
            ParamFormat::F16 => Storage::f16(Rounding::Master),
        };
        match self.states {
            StateFormat::F32 => storage,
            StateFormat::Block8 => storage.states(Format::Block8),
        }
    }

    /// What is done around the optimizers' updates.
    pub fn modifiers(&self) -> Modifiers {
        let average = self.average.then(|| Average::new(AverageKind::EmaWarmUp { decay: 0.99 }));
        Modifiers { average, cautious: self.cautious, ..Default::default() }
    }

    /// Refuses what no single argument shows.
    pub fn check(&self) -> Result<(), String> {
        let is_saved = self.save.is_some() || self.resume.is_some();
        match self.optimizers().as_slice() {
            [_, _, ..] if is_saved => {
                Err("a file has the run of one optimizer: choose one, as by --optimizer adamw"
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// The optimizers to train with, each once.
    pub fn optimizers(&self) -> Vec<OptimizerName> {
        let is_selected =
            |name: &OptimizerName| self.optimizers.is_empty() || self.optimizers.contains(name);
        OptimizerName::value_variants().iter().copied().filter(is_selected).collect()
    }
}

/// How parameters and gradients are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ParamFormat {
    /// 32 bits
    F32,
    /// bfloat16, with an exact f32 master in 16 bits more
    Bf16,
    /// Half precision, with an f32 master
    F16,
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

/// An optimizer to train with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizerName {
    /// Adam, learning rate 0.003
    Adam,
    /// AdamW with weight decay 0.01, learning rate 0.003
    #[value(name = "adamw")]
    AdamW,
    /// RMSprop, learning rate 0.001
    #[value(name = "rmsprop")]
    RMSprop,
    /// AdaGrad, learning rate 0.03
    Adagrad,
    /// Stochastic gradient descent with momentum 0.9, learning rate 0.05
    Sgd,
}

impl OptimizerName {
    /// A learning rate that works well for the optimizer and this network.
    pub fn default_lr(self) -> f64 {
        match self {
            Self::Adam | Self::AdamW => 0.003,
            Self::RMSprop => 0.001,
            Self::Adagrad => 0.03,
            Self::Sgd => 0.05,
        }
    }

    /// The name as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Adam => "Adam",
            Self::AdamW => "AdamW",
            Self::RMSprop => "RMSprop",
            Self::Adagrad => "AdaGrad",
            Self::Sgd => "SGD",
        }
    }
}

/// A positive, finite number.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("give a number above 0, for example 0.001".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn optimizers_are_all_by_default_and_each_once() {
        let optimizers = |line: &[&str]| Args::parse_from([&["train"], line].concat()).optimizers();
        assert_eq!(optimizers(&[]), OptimizerName::value_variants());
        let twice = ["--optimizer", "sgd,adam", "--optimizer", "sgd"];
        assert_eq!(optimizers(&twice), [OptimizerName::Adam, OptimizerName::Sgd]);
    }

    #[test]
    fn one_optimizer_is_saved() {
        let check = |line: &[&str]| Args::parse_from([&["train"], line].concat()).check();
        assert_eq!(check(&["--optimizer", "sgd,adam"]), Ok(()));
        assert_eq!(check(&["--optimizer", "sgd", "--save", "a", "--resume", "a"]), Ok(()));
        for option in ["--save", "--resume"] {
            assert!(check(&[option, "a"]).unwrap_err().contains("--optimizer"));
        }
    }

    #[test]
    fn storage_is_f32_by_default() {
        let storage = |line: &[&str]| Args::parse_from([&["train"], line].concat()).storage();
        assert_eq!(storage(&[]), Storage::f32());
        let small = Storage::bf16(Rounding::Remainder).states(Format::Block8);
        assert_eq!(storage(&["--format", "bf16", "--states", "8bit"]), small);
    }

    #[test]
    fn the_help_names_every_default_learning_rate() {
        for name in OptimizerName::value_variants() {
            let help = name.to_possible_value().unwrap().get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("learning rate {}", name.default_lr())), "{help}");
        }
    }

    #[test]
    fn learning_rates_and_norms_are_positive_numbers() {
        let parse = |option: &str, number: &str| Args::try_parse_from(["train", option, number]);
        for option in ["--lr", "--clip"] {
            assert!(parse(option, "1e-3").is_ok());
            for bad in ["0", "-1", "nan", "inf", "fast"] {
                assert!(parse(option, bad).is_err(), "{option} {bad}");
            }
        }
        assert_eq!(parse("--lr", "1e-3").unwrap().lr, Some(1e-3));
        assert_eq!(parse("--clip", "1e-3").unwrap().clip, 1e-3);
    }
}
