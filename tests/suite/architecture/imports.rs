//! Which files of a crate name which: by `use`, and by paths from `crate`, `self` or `super`.

use super::text::{Text, blank, is_word, item_end};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path from the crate's root.
pub type Module = Vec<String>;

/// A crate's modules that are files.
pub struct Crate {
    pub files: BTreeMap<Module, File>,
}

/// A file's code without tests, and what it names.
pub struct File {
    /// Its path within the crate's folder.
    pub path: String,
    /// What is left without comments, tests, and what literals hold.
    pub code: String,
    /// The modules of the same crate that are files and that it names.
    pub names: BTreeSet<Module>,
    /// Whether it is a `mod.rs` that only declares modules and re-exports.
    pub re_exports: bool,
}

impl Crate {
    /// The crate of these files: their paths within its folder, and their texts.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let read = |(path, text): (&str, &str)| {
            let code = Text::new(text).outside_tests();
            let is_list = path.ends_with("mod.rs") || path.ends_with("lib.rs");
            let re_exports = is_list && only_re_exports(&code);
            (module_of(path), File { path: path.into(), code, names: BTreeSet::new(), re_exports })
        };
        let mut files: BTreeMap<_, _> = files.into_iter().map(read).collect();
        let modules: BTreeSet<_> = files.keys().cloned().collect();
        for (module, file) in &mut files {
            file.names = names(module, &file.code, &modules);
            file.names.remove(module);
        }
        Self { files }
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`.
fn module_of(path: &str) -> Module {
    let parts = Path::new(path).with_extension("");
    let mut module: Module = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib")) {
        module.pop();
    }
    module
}

/// Whether nothing is left but declared modules, imports and attributes.
fn only_re_exports(code: &str) -> bool {
    let rest = without_attributes(&without_uses(code, |_, _| {}));
    let mut words = words(&rest).map(|(_, word)| word).filter(|w| !matches!(*w, "pub" | "crate"));
    while let Some(word) = words.next() {
        if word != "mod" || words.next().is_none() {
            return false;
        }
    }
    !rest.contains('{')
}

/// Code without what stands in `#[]` or `#![]`.
fn without_attributes(code: &str) -> String {
    let (mut rest, mut depth, mut last) = (String::new(), 0, ' ');
    for c in code.chars() {
        depth += i32::from(c == '[' && (depth > 0 || matches!(last, '#' | '!')));
        if depth == 0 {
            rest.push(c);
        }
        depth -= i32::from(c == ']' && depth > 0);
        last = c;
    }
    rest
}

/// The modules that a file names.
fn names(module: &Module, code: &str, modules: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let inline = inline_modules(code);
    let mut add = |at: usize, path: &[String], is_use: bool| {
        let depth = inline.iter().filter(|range| range.contains(&at)).count();
        let target = resolved(module, depth, path, is_use, modules);
        found.extend(target.map(|target| file_of(&target, modules)));
    };
    let rest = without_uses(code, |at, path| add(at, path, true));
    for (at, path) in paths(&rest) {
        add(at, &path, false);
    }
    found
}

/// The bodies of modules within the file.
fn inline_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    words(code)
        .filter(|(_, word)| *word == "mod")
        .map(|(at, _)| at..item_end(code, at))
        .filter(|range| code[range.clone()].contains('{'))
        .collect()
}

/// The macros that are exported.
const MACROS: [&str; 2] = ["fields", "hyperparameters"];

/// The module, or what is in it, that a path names; `None` if it is none of this crate's. The path
/// stands in a module so deep within its file.
fn resolved(
    module: &Module,
    depth: usize,
    path: &[String],
    is_use: bool,
    modules: &BTreeSet<Module>,
) -> Option<Module> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        // A macro that is exported is found at the root, and is in the file of its name.
        "crate" if path.get(1).is_some_and(|name| MACROS.contains(&name.as_str())) => {
            return Some(vec!["rule".into(), path[1].clone()]);
        }
        "crate" => (Module::new(), &path[1..]),
        "super" => {
            let up = supers.saturating_sub(depth).min(module.len());
            (module[..module.len() - up].to_vec(), &path[supers..])
        }
        "self" => (module.clone(), &path[1..]),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            (is_use && modules.contains(&child)).then_some((module.clone(), path))?
        }
    };
    Some([base.as_slice(), rest].concat())
}

/// The longest part of a path that is a file.
fn file_of(path: &Module, modules: &BTreeSet<Module>) -> Module {
    let longest = (0..=path.len()).rev().find(|&len| modules.contains(&path[..len]));
    path[..longest.unwrap_or(0)].to_vec()
}

/// Visits every path that is imported, with its place; the code without the imports.
fn without_uses(code: &str, mut visit: impl FnMut(usize, &[String])) -> String {
    let mut rest = code.to_owned();
    for (at, _) in words(code).filter(|(_, word)| *word == "use") {
        let tree = &code[at + "use".len()..];
        // `use<'a>` names lifetimes.
        if tree.trim_start().starts_with('<') {
            continue;
        }
        let tree = &tree[..tree.find(';').unwrap_or(tree.len())];
        tree_paths(tree, &[], &mut |path| visit(at, path));
        let end = (at + "use".len() + tree.len() + 1).min(code.len());
        let blanks: String = code[at..end].chars().map(blank).collect();
        rest.replace_range(at..end, &blanks);
    }
    rest
}

/// Visits every path of a tree such as `a::{b, c::{self, d as e}}`.
fn tree_paths(tree: &str, prefix: &[String], visit: &mut impl FnMut(&[String])) {
    for branch in split(tree) {
        let (path, group) = match branch.split_once('{') {
            Some((path, group)) => (path, Some(group.rsplit_once('}').map_or(group, |(g, _)| g))),
            None => (branch, None),
        };
        let path = path.split(" as ").next().unwrap_or_default();
        let segments = path.split("::").map(|segment| segment.trim().to_owned());
        let segments = segments.filter(|segment| !segment.is_empty());
        let all: Vec<_> = prefix.iter().cloned().chain(segments).collect();
        match group {
            Some(group) => tree_paths(group, &all, visit),
            None => visit(&all),
        }
    }
}

/// The branches of a tree.
fn split(tree: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0, 0);
    let mut branches = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tree[start..]);
    branches.retain(|branch| !branch.trim().is_empty());
    branches
}

/// The paths in code that start with `crate`, `self` or `super`.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let starts = words(code).filter(|(_, word)| matches!(*word, "crate" | "self" | "super"));
    let path = |(at, word): (usize, &str)| {
        let mut path = vec![word.to_owned()];
        let mut rest = &code[at + word.len()..];
        while let Some(after) = rest.strip_prefix("::") {
            let len = after.find(|c| !is_word(c)).unwrap_or(after.len());
            path.push(after[..len].to_owned());
            rest = &after[len..];
        }
        path.retain(|segment| !segment.is_empty());
        (path.len() > 1).then_some((at, path))
    };
    // A path's later segments are no starts, and `$crate` is for those who use a macro.
    starts
        .filter(|&(at, _)| !code[..at].ends_with("::") && !code[..at].ends_with('$'))
        .filter_map(path)
        .collect()
}

/// Words and their places.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word)?;
        let len = code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        rest = start + len;
        Some((start, &code[start..rest]))
    })
}
