//! The README says what is so.

use crate::common::facts::{FACTS, Rules};
use std::collections::BTreeMap;
use std::path::Path;
use wgpu_optim::DynRule;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).expect("a file of the project")
}

/// f32 bytes that a step moves for one parameter.
fn bytes(rule: &dyn DynRule) -> usize {
    4 * (3 + 2 * rule.states().len())
}

/// The rules by name, each with its variants.
fn rules() -> BTreeMap<&'static str, Rules> {
    FACTS.iter().map(|facts| (facts.name, (facts.variants)())).collect()
}

#[test]
fn the_table_of_rules_is_the_list_of_rules() {
    let readme = read("README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Rules\n"));
    let rows: BTreeMap<_, _> = section
        .expect("a section of rules")
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name.to_lowercase(), cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()))
        })
        .collect();
    let rules = rules();
    assert!(rows.keys().eq(rules.keys()), "{:?} and {:?}", rows.keys(), rules.keys());
    for (name, variants) in &rules {
        let row = &rows[*name];
        let (options, states, cost) = (&row[2], &row[3], &row[4]);
        for (option, _) in variants[0].options() {
            let option = option.trim_start_matches("has_");
            assert!(options.contains(option), "{name}'s row lacks the option {option}");
        }
        if !states.starts_with("as ") {
            for state in variants[0].state_names() {
                assert!(states.contains(&format!("`{state}`")), "{name}'s row lacks {state}");
            }
        }
        let least = variants.iter().map(|rule| bytes(rule.as_ref())).min().expect("a variant");
        assert!(cost.starts_with(&least.to_string()), "{name} moves {least} bytes, not {cost}");
    }
}

/// Every rule has its largest errors on the CPU and on some adapter.
#[test]
fn the_page_of_bounds_has_every_rule() {
    let page = read("docs/bounds.md");
    let tables: Vec<_> = page.split("\n## ").skip(1).collect();
    assert!(tables.len() >= 2 && tables[0].starts_with("The CPU"), "{} tables", tables.len());
    for table in tables {
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let named: Vec<_> = rows.map(|(name, _)| name).collect();
        assert!(named.iter().eq(rules().keys()), "{named:?}");
    }
}

#[test]
fn the_readme_names_its_two_commands() {
    let readme = read("README.md");
    for command in ["cargo run --release --example train", "scripts/test"] {
        assert!(readme.contains(command), "{command}");
    }
    assert!(read(".ci/run").contains("scripts/test"));
}

/// A rule is two files of one stem.
#[test]
fn every_rule_has_a_twin_of_the_same_stem() {
    let stems = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
        let mut stems: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned())
            .filter(|stem| stem != "mod")
            .collect();
        stems.sort();
        stems
    };
    assert_eq!(stems("src/rules"), stems("shaders/rules"));
}
