//! The table of a record, in Markdown.

use super::support::report::text;
use super::support::series::{CPU_PARALLEL, CPU_SERIAL, GPU_TIMESTAMPS, GPU_WALL};
use serde_json::Value;
use std::fmt::Write;

/// The size in the table.
const SHAPE: &str = "1x16M";

const RULES: [(&str, &str); 4] =
    [("adam", "Adam"), ("rmsprop", "RMSprop"), ("adagrad", "AdaGrad"), ("sgd", "SGD, momentum")];

/// Speeds by rule, then the targets that were measured.
pub fn of(record: &Value, path: &str) -> String {
    let mut out = format!("{}\n\n", provenance(record, path));
    out += "| rule | CPU serial | CPU parallel | GPU, wall clock | GPU, own clock \
            | of a copy's bandwidth, in turns |\n";
    out += "|---|--:|--:|--:|--:|--:|\n";
    for (rule, name) in RULES {
        let speed = |series| {
            let speed = line(record, rule, series).and_then(|line| line["gparam_s"].as_f64());
            speed.map_or("–".into(), |speed| format!("{:.0} M/s", speed * 1e3))
        };
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} |",
            speed(CPU_SERIAL),
            speed(CPU_PARALLEL),
            speed(GPU_WALL),
            speed(GPU_TIMESTAMPS),
            share_of_copy(record, rule).map_or("–".into(), |share| format!("{share:.2}")),
        );
    }
    out + &targets(record)
}

/// A series of one rule at the table's size.
fn line<'a>(record: &'a Value, rule: &str, series: &str) -> Option<&'a Value> {
    record["lines"].as_array()?.iter().find(|line| {
        text(line, "peer") == "wgpu-optim"
            && text(line, "rule") == rule
            && text(line, "shape") == SHAPE
            && text(line, "series") == series
            && text(line, "impl") != "separate buffers"
    })
}

/// A rule's share of the copy's bandwidth, in turns with it.
fn share_of_copy(record: &Value, rule: &str) -> Option<f64> {
    let mut lines = record["lines"].as_array()?.iter();
    let in_turns = |line: &&Value| {
        text(line, "rule") == rule && text(line, "shape") == SHAPE && text(line, "impl") == "arena"
    };
    lines.by_ref().filter(in_turns).find_map(|line| line["ratios"]["copy"][0].as_f64())
}

fn targets(record: &Value) -> String {
    let mut out = String::from("\n| target | wanted | found | |\n|---|--:|--:|---|\n");
    for target in record["targets"].as_array().into_iter().flatten() {
        let Some(found) = target["found"].as_f64() else { continue };
        let verdict = if target["met"] == true { "met" } else { "missed" };
        let (name, wanted) = (text(target, "target"), text(target, "wanted"));
        let _ = writeln!(out, "| {name} | {wanted} | {found:.2} | {verdict} |");
    }
    out
}

/// Device, driver, date and commit.
fn provenance(record: &Value, path: &str) -> String {
    let device = &record["device"];
    format!(
        "{}, driver {} {}, {}; host {}, {} cores; {} parameters in an arena, medians of one run of \
         `cargo bench --bench step` on {}, commit {}: `{path}`.",
        text(device, "name"),
        text(device, "driver"),
        text(device, "driver_info"),
        text(device, "backend"),
        text(&record["host"], "cpu"),
        record["host"]["cores"],
        SHAPE.trim_start_matches("1x"),
        text(record, "date").chars().take(10).collect::<String>(),
        text(record, "commit"),
    )
}
