//! Makes the roofline picture and the README's table from a record of benches/record.
//!
//! ```text
//! cargo bench --bench draw                         each device's newest record, to the terminal
//! cargo bench --bench draw -- --write              … to docs/ and between the README's markers
//! cargo bench --bench draw -- RECORD.json …        these records
//! ```

mod picture;
#[path = "../support/mod.rs"]
mod support;
mod table;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The lines of the README between which this tool writes.
const BEGIN: &str = "<!-- Written by `cargo bench --bench draw -- --write`. -->";
const END: &str = "<!-- To here. -->";

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let write = arguments.iter().any(|argument| argument == "--write");
    let root = root();
    let named: Vec<_> =
        arguments.iter().filter(|a| !a.starts_with('-')).map(PathBuf::from).collect();
    let paths = if named.is_empty() { newest(&root.join("benches/record")) } else { named };
    let mut text = String::new();
    for path in &paths {
        let record = read(path);
        text += &table::of(&record, &name(path, &root));
        let picture = root.join(picture_of(path));
        if write {
            text += &format!("\n![Bandwidth by the size of a step]({})\n", picture_of(path));
            picture::draw(&picture, &record).expect("a picture");
        }
    }
    println!("{text}");
    if write {
        update(&root.join("README.md"), &text);
    }
}

/// The crate's folder.
fn root() -> PathBuf {
    std::env::var("CARGO_MANIFEST_DIR").map_or_else(|_| PathBuf::from("."), PathBuf::from)
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{} is not a record: {e}", path.display()))
}

/// A file's name in the README.
fn name(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The path of a record's picture, named by its device.
fn picture_of(record: &Path) -> String {
    let device = record.parent().and_then(Path::file_name).unwrap_or_default();
    format!("docs/roofline-{}.svg", device.to_string_lossy())
}

/// Each device's newest record of the step bench: the last by name, since names are dates.
fn newest(folder: &Path) -> Vec<PathBuf> {
    let is_record = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
    let of_steps = |path: &PathBuf| is_record(path) && read(path)["bench"] == "step";
    let latest = |device: PathBuf| entries(&device).into_iter().filter(of_steps).max();
    entries(folder).into_iter().filter_map(latest).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Replaces the text between the markers.
fn update(path: &Path, text: &str) {
    let old = std::fs::read_to_string(path).expect("the README");
    let parts = old
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    let Some((before, after)) = parts else {
        println!("The README lacks the markers\n{BEGIN}\n{END}");
        return;
    };
    std::fs::write(path, format!("{before}{BEGIN}\n{text}{END}{after}")).expect("the README");
}
