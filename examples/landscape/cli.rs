//! The command line.

use crate::contestants::{self, Contestant};
use crate::function::Function;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Minimizes two well-known test functions with every optimizer, and draws the paths.
///
/// Thousands of starting points around a marked one are a single parameter, so that one step moves
/// them all. Gradients and steps run on the GPU, and nothing is read back before the end. Without a
/// GPU driver the same runs on the CPU.
///
/// The table shows the share of starting points that came within 0.1 of the minimum, and the median
/// number of steps that those needed. The pictures are SVGs, one for each function.
///
/// wgpu's environment variables select the GPU, for example WGPU_BACKEND=vulkan or
/// WGPU_POWER_PREF=low.
#[derive(Debug, Parser)]
#[command(after_help = "Example with three rules and one function:
  cargo run --release --example landscape -- --function rosenbrock --rule adam,lion,rprop")]
pub struct Args {
    /// Number of starting points
    #[arg(long, value_name = "COUNT", default_value = "4096")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20))]
    pub starts: usize,

    /// Number of steps
    #[arg(long, value_name = "COUNT", default_value = "2000")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub steps: usize,

    /// Functions to minimize, separated by commas [default: all]
    #[arg(long = "function", value_name = "NAME", value_delimiter = ',')]
    functions: Vec<Function>,

    /// Rules to use, separated by commas, for example adam,sgd-momentum [default: all]
    #[arg(long = "rule", value_name = "NAME", value_delimiter = ',', value_parser = rule_name)]
    rules: Vec<String>,

    /// Learning rate of all rules [default: each its own]
    #[arg(long, value_name = "RATE", value_parser = learning_rate, allow_negative_numbers = true)]
    pub lr: Option<f64>,

    /// Folder for the pictures
    #[arg(long, value_name = "DIR", default_value = "target/landscape")]
    pub output: PathBuf,
}

impl Args {
    /// The functions to minimize, each once.
    pub fn functions(&self) -> Vec<Function> {
        let is_selected =
            |name: &Function| self.functions.is_empty() || self.functions.contains(name);
        Function::value_variants().iter().copied().filter(is_selected).collect()
    }

    /// The rules to use, each once.
    pub fn contestants(&self) -> Vec<Contestant> {
        let mut all = contestants::all();
        all.retain(|rule| self.rules.is_empty() || self.rules.contains(&rule.name));
        all
    }
}

/// The name of a contestant, or an error that lists all names.
fn rule_name(text: &str) -> Result<String, String> {
    let names: Vec<String> = contestants::all().into_iter().map(|rule| rule.name).collect();
    if names.iter().any(|name| name == text) {
        Ok(text.into())
    } else {
        Err(format!("give one of {}", names.join(", ")))
    }
}

/// A positive, finite number.
fn learning_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("give a number above 0, for example 0.001".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        let words = ["landscape"].iter().chain(args);
        Args::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn functions_and_rules_are_all_by_default_and_each_once() {
        let all = parse(&[]).unwrap();
        assert_eq!(all.functions().len(), Function::value_variants().len());
        assert_eq!(all.contestants().len(), contestants::all().len());
        let some = parse(&["--rule", "lion,adam,lion", "--function", "beale,beale"]).unwrap();
        assert_eq!(some.contestants().len(), 2);
        assert_eq!(some.functions(), [Function::Beale]);
    }

    #[test]
    fn bad_values_are_refused() {
        assert!(parse(&["--rule", "adamm"]).unwrap_err().contains("sgd-momentum"));
        for args in [["--starts", "0"], ["--steps", "0"], ["--lr", "-1"], ["--function", "bale"]] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }
}
