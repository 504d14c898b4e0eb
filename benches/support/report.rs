//! Prints the results of a run.

use super::bench::Bench;
use super::record::rounded;
use serde_json::{Value, json};

/// Computes each series' share of the copy's bandwidth, and prints everything.
pub fn print(bench: &mut Bench) {
    shares(&mut bench.record.lines);
    bench.criterion.final_summary();
    println!("GPU: {}", bench.gpu.name());
    println!("CPU: {} threads", rayon::current_num_threads());
    let lines = &bench.record.lines;
    series(lines);
    turns(lines);
    numbers(lines);
}

pub fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

/// The label of a line's subject.
pub fn label(line: &Value) -> String {
    let parts = ["peer", "rule", "impl"].map(|key| text(line, key));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Adds the share of the bandwidth of a copy of as many bytes, by the same clock.
fn shares(lines: &mut [Value]) {
    let key = |line: &Value| (line["bytes"].clone(), line["series"].clone());
    let is_copy = |line: &&Value| text(line, "peer") == "copy" && line["bytes"].is_number();
    let copies: Vec<_> =
        lines.iter().filter(is_copy).map(|line| (key(line), line["gb_s"].clone())).collect();
    for line in lines {
        let copy = copies.iter().find(|(of, _)| *of == key(line));
        if let (Some(own), Some(copy)) = (line["gb_s"].as_f64(), copy.and_then(|c| c.1.as_f64())) {
            line["of_copy"] = json!(rounded(own / copy));
        }
    }
}

fn series(lines: &[Value]) {
    println!(
        "\n{:<34} {:<16} {:<15} {:>11} {:>9} {:>8} {:>7}",
        "medians", "shape", "series", "ms/step", "Gparam/s", "GB/s", "of copy"
    );
    let ours = |line: &&Value| line["series"].is_string() && line["ratios"].is_null();
    for line in lines.iter().filter(ours) {
        let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        let share = line["of_copy"].as_f64().map_or("-".into(), |share| format!("{share:.2}"));
        println!(
            "{:<34} {:<16} {:<15} {:>11.4} {:>9.4} {:>8.2} {:>7}",
            label(line),
            text(line, "shape"),
            text(line, "series"),
            number("ms_median"),
            number("gparam_s"),
            number("gb_s"),
            share
        );
    }
}

/// Prints the ratios of contestants that were timed in turns.
fn turns(lines: &[Value]) {
    println!("\nin turns: bytes a second, as a multiple of another's");
    for line in lines {
        let Some(ratios) = line["ratios"].as_object() else { continue };
        let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:<44} {:<10} {:<24} {:>10.4} ms {:>8.2} GB/s",
            label(line),
            text(line, "shape"),
            text(line, "series"),
            number("ms_median"),
            number("gb_s")
        );
        for (other, ratio) in ratios {
            let part = |k: usize| ratio[k].as_f64().unwrap_or(f64::NAN);
            println!("    {:.3} ({:.3} to {:.3}) of {other}", part(0), part(1), part(2));
        }
    }
}

fn numbers(lines: &[Value]) {
    println!("\n{:<62} {:<12} {:>10}", "medians", "shape", "");
    for line in lines.iter().filter(|line| line["measure"].is_string()) {
        println!(
            "{:<62} {:<12} {:>10} {}",
            text(line, "measure"),
            text(line, "shape"),
            line["value"].to_string(),
            text(line, "unit")
        );
    }
}
