//! The record of a run: a JSON file, into which the lines of other libraries are merged.
//! benches/record/README.md describes its format.

use super::gpu::Gpu;
use super::machine::{commit, cpu, date, load};
use super::stats::{median, smallest};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The version of the format.
const FORMAT: u32 = 1;

/// The `peer` of this crate's own lines.
pub const OURS: &str = "wgpu-optim";

pub struct Record {
    head: Map<String, Value>,
    pub lines: Vec<Value>,
}

/// The subject of a line.
#[derive(Clone, PartialEq, Debug)]
pub struct Subject {
    pub peer: String,
    /// In lower case.
    pub rule: String,
    pub implementation: String,
    pub shape: String,
    pub elements: usize,
    /// The least number of bytes that a step reads and writes.
    pub bytes: usize,
}

impl Subject {
    /// Its name in the ratios of other lines with the same shape.
    pub fn label(&self) -> String {
        let parts = [&self.peer, &self.rule, &self.implementation];
        let parts: Vec<_> =
            parts.into_iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
        parts.join(" ")
    }

    /// A copy of this many elements.
    pub fn copy(elements: usize, shape: &str) -> Self {
        Self {
            peer: "copy".into(),
            rule: String::new(),
            implementation: String::new(),
            shape: shape.into(),
            elements,
            bytes: elements * super::copy::BYTES_PER_ELEMENT,
        }
    }

    /// A line of times in seconds.
    pub fn line(&self, series: &str, seconds: &[f64]) -> Value {
        let time = median(seconds);
        json!({
            "peer": self.peer,
            "rule": self.rule,
            "impl": self.implementation,
            "shape": self.shape,
            "n": self.elements,
            "bytes": self.bytes,
            "series": series,
            "samples": seconds.len(),
            "ms_median": rounded(time * 1e3),
            "ms_min": rounded(smallest(seconds) * 1e3),
            "gparam_s": rounded(self.elements as f64 / time / 1e9),
            "gb_s": rounded(self.bytes as f64 / time / 1e9),
        })
    }
}

/// To six significant digits, which is more than the precision of the measurements.
pub fn rounded(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

impl Record {
    /// An empty record of a run that starts now.
    pub fn new(gpu: &Gpu) -> Self {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let head = json!({
            "format": FORMAT,
            "date": date(),
            "crate": env!("CARGO_PKG_VERSION"),
            "commit": commit(),
            "bench": env!("CARGO_CRATE_NAME"),
            "arguments": arguments,
            "device": {
                "name": gpu.info.name,
                "type": format!("{:?}", gpu.info.device_type),
                "driver": gpu.info.driver,
                "driver_info": gpu.info.driver_info,
                "backend": gpu.info.backend.to_string(),
            },
            "host": {
                "cpu": cpu(),
                "cores": std::thread::available_parallelism().map_or(0, usize::from),
                "load_at_start": load(),
                "os": std::env::consts::OS,
            },
        });
        let Value::Object(head) = head else { unreachable!("an object was written") };
        Self { head, lines: Vec::new() }
    }

    /// Adds the lines of another library's run: a JSON object in each line; other lines are
    /// ignored.
    pub fn merge(&mut self, path: &Path) {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        self.lines.extend(lines.filter(|line| line["peer"].is_string()));
    }

    /// Adds a number that is not the time of a step.
    pub fn number(&mut self, measure: &str, shape: &str, value: f64, unit: &str) {
        let value = rounded(value);
        let line = json!({
            "peer": OURS, "measure": measure, "shape": shape, "value": value, "unit": unit,
        });
        self.lines.push(line);
    }

    pub fn set(&mut self, key: &str, value: Value) {
        self.head.insert(key.into(), value);
    }

    /// A new file `folder/<device>/<date>.json`. For another bench, or a second run on the same
    /// day, the name is longer.
    pub fn path(&self, folder: &Path) -> std::io::Result<PathBuf> {
        let device = slug(self.head["device"]["name"].as_str().unwrap_or("unknown"));
        let folder = folder.join(device);
        std::fs::create_dir_all(&folder)?;
        let day: String = date().chars().take(10).collect();
        let stem = match env!("CARGO_CRATE_NAME") {
            "step" => day,
            other => format!("{day}-{other}"),
        };
        let names = std::iter::once(stem.clone()).chain((2..).map(|k| format!("{stem}-{k}")));
        let mut paths = names.map(|name| folder.join(name).with_extension("json"));
        Ok(paths.find(|path| !path.exists()).expect("endless names"))
    }

    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, self.text())
    }

    /// The head over several lines, then a line for each subject, which suits readers and `diff`.
    fn text(&self) -> String {
        let head = serde_json::to_string_pretty(&self.head).expect("plain data");
        let lines: Vec<_> = self.lines.iter().map(|line| format!("    {line}")).collect();
        let head = head.trim_end().trim_end_matches('}').trim_end();
        format!("{head},\n  \"lines\": [\n{}\n  ]\n}}\n", lines.join(",\n"))
    }
}

/// The name of a device's folder: the device's name in lower case, with hyphens.
fn slug(name: &str) -> String {
    let name = name.split('(').next().unwrap_or(name).to_lowercase();
    let words: Vec<_> =
        name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.join("-")
}
