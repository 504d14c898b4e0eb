//! The table of results.

use crate::descent::{NEAR, Outcome};
use crate::function::Function;

/// The heading of a function's table. Its rows are printed as the descents end.
pub fn heading(function: Function, starts: usize, steps: usize) -> String {
    let arrived = format!("within {NEAR}");
    format!(
        "\n{}, {starts} starts, at most {steps} steps\n{:18} {:>13} {arrived:>11} {:>13} {:>9}",
        function.title(),
        "rule",
        "learning rate",
        "median steps",
        "steps/s"
    )
}

pub fn row(title: &str, lr: f64, steps: usize, outcome: &Outcome) -> String {
    let arrived = format!("{:.1} %", 100.0 * outcome.arrived());
    let median = outcome.median_steps().map_or("–".into(), |steps| steps.to_string());
    let rate = steps as f64 / outcome.elapsed.as_secs_f64();
    format!("{title:18} {lr:>13} {arrived:>11} {median:>13} {rate:>9.0}")
}
