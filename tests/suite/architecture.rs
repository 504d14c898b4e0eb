//! What ARCHITECTURE.md says of files and folders is so: who may name whom, and how wide comments
//! are.

mod imports;
mod text;

use imports::{Crate, File, Module, words};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use text::Text;

/// The folders and files of `src`, in order: each may name those before it.
const ORDER: [&str; 14] = [
    "error",
    "rule",
    "rules",
    "schedule",
    "model",
    "layout",
    "control",
    "shader",
    "optimizer",
    "open_step",
    "checkpoint",
    "cpu",
    "gpu",
    "lib",
];

/// Pairs of which the first may not name the second, although it comes later.
const APART: [(&str, &str); 3] = [("gpu", "cpu"), ("schedule", "rule"), ("schedule", "rules")];

/// Crates that only one folder of `src` may name; `lib.rs` re-exports one.
const OWNERS: [(&str, &str); 2] = [("wgpu", "gpu"), ("rayon", "cpu")];

/// The most columns of a line with a comment.
const WIDTH: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files with one of these endings in a folder and the folders in it, but for what was built:
/// their paths from the folder on, and their texts.
fn sources(folder: &Path, endings: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
                let name = path.strip_prefix(folder).expect("within").to_string_lossy();
                let text = std::fs::read_to_string(&path).expect("a text");
                found.insert(name.replace('\\', "/"), text);
            }
        }
    }
    assert!(!found.is_empty(), "{} has sources", folder.display());
    found
}

/// The crate in a folder.
fn load(folder: &str) -> Crate {
    let files = sources(&root().join(folder), &["rs"]);
    Crate::new(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))
}

/// A crate of these files.
fn made(files: &[(&'static str, &'static str)]) -> Crate {
    Crate::new(files.iter().copied())
}

/// The folder that a module is in, or the file that it is.
fn folder(module: &Module) -> &str {
    module.first().map_or("lib", String::as_str)
}

/// Names of folders that come later, or that are kept apart.
fn disorder(all: &Crate) -> Vec<String> {
    let place = |folder: &str| ORDER.iter().position(|known| *known == folder);
    let mut wrong = Vec::new();
    for (module, File { path, names, .. }) in &all.files {
        let from = folder(module);
        if place(from).is_none() {
            wrong.push(format!("{path} is in a folder that has no place in the order"));
        }
        for to in names.iter().map(folder).filter(|to| *to != from) {
            if place(to) >= place(from) || APART.contains(&(from, to)) {
                wrong.push(format!("{path} names {to}"));
            }
        }
    }
    wrong
}

/// Files that name each other in a circle, and files that name their own folder in place of a file
/// in it.
fn circles(all: &Crate) -> Vec<String> {
    let is_list = |module: &Module| all.files[module].re_exports;
    let is_own = |of: &Module, named: &Module| of.starts_with(named);
    let mut wrong = Vec::new();
    for (module, File { path, names, .. }) in &all.files {
        let lists = names.iter().filter(|named| is_list(named) && is_own(module, named));
        let message = |named: &Module| {
            format!("{path} names {}, which only re-exports", all.files[named].path)
        };
        wrong.extend(lists.map(message));
    }
    let named = |module: &Module| -> Vec<Module> {
        let real = |other: &&Module| !is_list(other) && !is_list(module);
        all.files[module].names.iter().filter(real).cloned().collect()
    };
    let graph: BTreeMap<_, _> = all.files.keys().map(|m| (m.clone(), named(m))).collect();
    let reached: BTreeMap<_, _> = graph.keys().map(|m| (m, reached(&graph, m))).collect();
    for (module, others) in &graph {
        let circle = others.iter().filter(|other| reached[other].contains(module));
        let message = |other: &Module| {
            format!("{} names {} in a circle", all.files[module].path, all.files[other].path)
        };
        wrong.extend(circle.map(message));
    }
    wrong
}

/// Everything that a file names, and what that names, and so on.
fn reached(graph: &BTreeMap<Module, Vec<Module>>, from: &Module) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(next) = open.pop() {
        for other in &graph[&next] {
            if reached.insert(other.clone()) {
                open.push(other.clone());
            }
        }
    }
    reached
}

/// Names of crates that belong to another folder.
fn strangers(all: &Crate) -> Vec<String> {
    let mut wrong = Vec::new();
    for (module, File { path, code, .. }) in &all.files {
        for (name, owner) in OWNERS {
            let is_owner = folder(module) == owner || path == "lib.rs";
            if !is_owner && words(code).any(|(_, word)| word == name) {
                wrong.push(format!("{path} names {name}"));
            }
        }
    }
    wrong
}

/// Lines with comments that are too wide. Rows of tables cannot be broken.
fn wide_comments(path: &str, text: &str) -> Vec<String> {
    let comments = Text::new(text).comments;
    let is_row = |text: &str| text.trim_start().starts_with("//! |");
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(line, text)| comments.contains(line) && !is_row(text));
    let wide = lines.map(|(line, text)| (line, text.chars().count())).filter(|(_, w)| *w > WIDTH);
    wide.map(|(line, width)| format!("{path}:{line} has {width} columns")).collect()
}

fn none(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} things are not as they should be:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn folders_name_only_those_before_them() {
    none(&disorder(&load("src")));
}

#[test]
fn files_form_no_circles() {
    none(&circles(&load("src")));
}

#[test]
fn files_of_the_burn_crate_form_no_circles() {
    none(&circles(&load("integrations/burn/src")));
}

#[test]
fn one_folder_names_wgpu_and_one_names_rayon() {
    none(&strangers(&load("src")));
}

#[test]
fn comments_are_at_most_100_columns_wide() {
    let mut wrong = Vec::new();
    for folder in ["src", "shaders", "tests", "examples", "benches", "integrations"] {
        for (path, text) in sources(&root().join(folder), &["rs", "wgsl"]) {
            wrong.extend(wide_comments(&format!("{folder}/{path}"), &text));
        }
    }
    none(&wrong);
}

// Each check can fail.

#[test]
fn a_name_of_a_later_folder_is_found() {
    let files = [
        ("lib.rs", "mod error; mod rule; pub use rule::a::A; use gpu::G;"),
        ("error.rs", "// use crate::gpu::G;\npub struct Error;"),
        ("rule/mod.rs", "pub mod a;"),
        ("rule/a.rs", "use crate::error::Error; pub struct A;"),
        ("rules/mod.rs", "crate::fields! { struct S }\nuse crate::rule::{a::{A, B}, C};"),
        (
            "cpu/mod.rs",
            "use crate::{error::Error, rule::A};\n#[cfg(test)]\nmod tests { use crate::gpu::G; }",
        ),
        ("gpu/mod.rs", "fn g() { crate::rule::a::f(); }"),
    ];
    assert_eq!(disorder(&made(&files)), [""; 0]);
    for (path, text, found) in [
        ("rule/a.rs", "use crate::{error::Error, gpu::{G, H}};", "rule/a.rs names gpu"),
        ("rule/a.rs", "use super::super::cpu::C;", "rule/a.rs names cpu"),
        ("rule/a.rs", "fn f() { crate::rules::all(); }", "rule/a.rs names rules"),
        ("rule/a.rs", "use crate::Exported;", "rule/a.rs names lib"),
        ("gpu/mod.rs", "pub(crate) use crate::cpu::C as D;", "gpu/mod.rs names cpu"),
        ("schedule.rs", "use crate::rule::Rule;", "schedule.rs names rule"),
        ("new.rs", "", "new.rs is in a folder that has no place in the order"),
    ] {
        let mut files = files.to_vec();
        files.retain(|(known, _)| *known != path);
        files.push((path, text));
        assert_eq!(disorder(&made(&files)), [found], "{text}");
    }
}

#[test]
fn a_circle_of_files_is_found() {
    let files = [
        (
            "gpu/mod.rs",
            "#![a(b)]\nmod a; #[cfg(c = \"d\")] mod b; mod c;\npub use a::A; pub(crate) use b::B;",
        ),
        ("gpu/a.rs", "use crate::gpu::b::B; mod inner { use super::A; }"),
        (
            "gpu/b.rs",
            "use std::fmt; // crate::gpu::a::A\nfn f() -> usize { \"crate::gpu::a\".len() }",
        ),
        ("gpu/c.rs", "use super::a::A; use super::b;"),
    ];
    assert_eq!(circles(&made(&files)), [""; 0]);
    for (path, text, found) in [
        ("gpu/b.rs", "use crate::gpu::c::C;", vec!["b.rs names gpu/c.rs", "c.rs names gpu/b.rs"]),
        (
            "gpu/b.rs",
            "fn f() { super::a::f() }",
            vec!["a.rs names gpu/b.rs", "b.rs names gpu/a.rs"],
        ),
        ("gpu/b.rs", "use crate::gpu::A;", vec!["gpu/b.rs names gpu/mod.rs, which only"]),
        ("gpu/b.rs", "use super::{A};", vec!["gpu/b.rs names gpu/mod.rs, which only"]),
    ] {
        let mut files = files.to_vec();
        files.retain(|(known, _)| *known != path);
        files.push((path, text));
        let wrong = circles(&made(&files));
        let is_there = |words: &&str| wrong.iter().any(|wrong| wrong.contains(words));
        assert!(found.iter().all(is_there), "{text}: {wrong:?}");
    }
    // A `mod.rs` with code is a file among others.
    let real = [("gpu/mod.rs", "mod a; use a::A; fn f() {}"), ("gpu/a.rs", "use crate::gpu::f;")];
    assert_eq!(circles(&made(&real)).len(), 2);
}

#[test]
fn a_name_of_another_folders_crate_is_found() {
    let files = [
        ("lib.rs", "pub use wgpu;"),
        ("gpu/a.rs", "use wgpu::Buffer;"),
        ("cpu/mod.rs", "fn f() { use rayon::prelude::*; }"),
        ("error.rs", "/// Of wgpu.\nconst A: &str = \"wgpu-optim and rayon\";"),
    ];
    assert_eq!(strangers(&made(&files)), [""; 0]);
    for (path, text, found) in [
        ("model.rs", "fn f(_: &wgpu::Buffer) {}", "model.rs names wgpu"),
        ("gpu/b.rs", "use rayon::join;", "gpu/b.rs names rayon"),
    ] {
        let files = [&files[..], &[(path, text)]].concat();
        assert_eq!(strangers(&made(&files)), [found]);
    }
}

#[test]
fn a_wide_comment_is_found() {
    let wide = format!("// {}", "ä".repeat(98));
    let (narrow, text) = (format!("// {}", "ä".repeat(97)), format!("\"// {}\"", "a".repeat(98)));
    let count = |text: &str| wide_comments("a.rs", text).len();
    assert_eq!([&narrow, &text].map(|text| count(text)), [0, 0]);
    assert_eq!(
        wide_comments("a.rs", &format!("fn f() {{}}\n    {narrow}")),
        ["a.rs:2 has 104 columns"]
    );
    assert_eq!([wide.clone(), format!("/* {wide}\n{wide} */\n")].map(|text| count(&text)), [1, 2]);
    assert_eq!(count(&format!("{}// a", " ".repeat(97))), 1, "behind code");
}

#[test]
fn literals_and_comments_are_told_from_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("// \" x", 'c', '\'', &'a b)"#, r#"f("       ", ' ', '  ', &'a b)"#),
        ("r#\"a \" b\"# for", "r#\"     \"# for"),
        ("br\"a\" bar\"b\"", "br\" \" bar\" \""),
    ] {
        assert_eq!(Text::new(text).code, code);
    }
    let tests = Text::new("a;\n#[cfg(test)]\nmod tests { fn f() {} }\nb;");
    assert_eq!(tests.outside_tests().split_whitespace().collect::<Vec<_>>(), ["a;", "b;"]);
}
