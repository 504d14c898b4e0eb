//! The linker: from a kernel's files, flags, constants and bindings to one WGSL text.
//!
//! A file names the files it needs at its head, `// #import name`; each is linked once, before the
//! first that needs it. Lines between `// #if flag` and `// #end`, with `// #else` between, are
//! linked where the flag is set, or is not. Nothing else varies but `override` constants.

use crate::layout::geometry::{
    BLOCK, LIVE_BITS, THREADS_PER_BLOCK, WORKGROUP_SIZE, blocks_per_workgroup,
};
use crate::shader::binding::{Binding, declarations};
use crate::shader::codec;
use crate::shader::source::source;
use std::fmt::Write;

/// A kernel as data.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// What it is called in errors and labels.
    pub label: String,
    /// The file with its entry point, `main`.
    pub file: &'static str,
    /// The flags that are set.
    pub flags: Vec<&'static str>,
    /// How many threads share a block, if not as many as update one.
    pub threads: Option<u64>,
    /// WGSL constants that the host decides, beside the geometry's.
    pub constants: Vec<(&'static str, u64)>,
    /// Texts that files import but the host makes, by name.
    pub texts: Vec<(&'static str, String)>,
    /// WGSL structs that the host declares.
    pub structs: Vec<&'static str>,
    /// What is bound.
    pub bindings: Vec<Binding>,
    /// An array of elements that is in another's binding.
    pub mixed_in: Option<Binding>,
    /// The values of `override` constants.
    pub overrides: Vec<(&'static str, f64)>,
    /// Whether it reads workgroup memory that it did not write, and so needs it zeroed.
    pub zeroed_memory: bool,
}

/// A linked kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Shader {
    /// What it is called in errors and labels.
    pub label: String,
    /// The WGSL text. Its entry point is `main`.
    pub text: String,
    /// The values of its `override` constants.
    pub overrides: Vec<(&'static str, f64)>,
    /// What it binds.
    pub bindings: Vec<Binding>,
    /// The line, counted from 1, on which a rule's own text starts; 0 if there is none.
    pub rule_line: usize,
    /// Whether it reads workgroup memory that it did not write, and so needs it zeroed. Some
    /// compilers take very long over the zeroing.
    pub zeroed_memory: bool,
}

impl Kernel {
    /// Whether a flag is set.
    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
            || self.arrays().any(|binding| binding.written_flag().as_deref() == Some(flag))
    }

    /// Everything that may be an array of elements.
    fn arrays(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().chain(&self.mixed_in)
    }

    /// Links everything.
    pub fn link(mut self) -> Shader {
        let codecs: Vec<_> = self.arrays().map(|binding| binding.codec).collect();
        let made = |&name: &&'static str| Some((name, codec::functions(name)?));
        self.texts.extend(codecs.iter().filter_map(made));
        let mut text = String::new();
        if self.has("subgroups") && cfg!(target_arch = "wasm32") {
            // Browsers demand the line, and naga refuses it.
            text += "enable subgroups;\n";
        }
        text += &format!("// {}, linked by wgpu-optim.\n", self.label);
        text += &self.constants();
        text += "\n";
        let mut linker = Linker { kernel: &self, text, linked: Vec::new(), rule_line: 0 };
        for text in &self.structs {
            linker.text += text;
            linker.text += "\n";
        }
        linker.import(self.file);
        codecs.iter().filter(|codec| !codec.is_empty()).for_each(|codec| linker.import(codec));
        linker.text += &declarations(&self.bindings);
        for accessor in self.arrays().filter_map(Binding::accessor) {
            linker.text += "\n";
            linker.append(&accessor);
        }
        let Linker { text, rule_line, .. } = linker;
        let Self { label, overrides, bindings, zeroed_memory, .. } = self;
        Shader { label, text, overrides, bindings, rule_line, zeroed_memory }
    }

    /// The geometry, and the kernel's own constants.
    fn constants(&self) -> String {
        let threads = self.threads.unwrap_or(THREADS_PER_BLOCK);
        let geometry = [
            ("BLOCK", BLOCK),
            ("THREADS_PER_BLOCK", threads),
            ("BLOCKS_PER_WORKGROUP", blocks_per_workgroup(threads)),
            ("WORKGROUP_SIZE", WORKGROUP_SIZE),
            ("LIVE_BITS", LIVE_BITS.into()),
        ];
        let mut text = String::from("alias Real = vec4<f32>;\n");
        for (name, value) in geometry.iter().chain(&self.constants) {
            let _ = writeln!(text, "const {name} = {value}u;");
        }
        text
    }
}

/// The name of a rule's own text.
pub(crate) const RULE: &str = "rule";

struct Linker<'a> {
    kernel: &'a Kernel,
    text: String,
    linked: Vec<&'a str>,
    rule_line: usize,
}

impl<'a> Linker<'a> {
    /// Links a file, once.
    fn import(&mut self, name: &'a str) {
        if self.linked.contains(&name) {
            return;
        }
        self.linked.push(name);
        let own = self.kernel.texts.iter().find(|(own, _)| *own == name);
        let text = own.map(|(_, text)| text.as_str()).or_else(|| source(name)).unwrap_or_default();
        if name == RULE {
            // Not ours: it is linked as it is, so that its lines keep their order.
            self.rule_line = self.text.lines().count() + 1;
            self.text += text;
            self.text += "\n";
            return;
        }
        self.imports(text);
        self.append(text);
        self.text += "\n";
    }

    /// Links what a text imports.
    fn imports(&mut self, text: &'a str) {
        self.each_line(text, |linker, line| {
            if let Some(name) = line.trim().strip_prefix("// #import ") {
                linker.import(name);
            }
        });
    }

    /// Appends a text without its directives.
    fn append(&mut self, text: &str) {
        self.each_line(text, |linker, line| {
            if !line.trim_start().starts_with("// #import ") {
                linker.text += line;
                linker.text += "\n";
            }
        });
    }

    /// Visits the lines whose flags are set.
    fn each_line<'t>(&mut self, text: &'t str, mut visit: impl FnMut(&mut Self, &'t str)) {
        let mut conditions: Vec<bool> = Vec::new();
        for line in text.lines() {
            let directive = line.trim();
            if let Some(flag) = directive.strip_prefix("// #if ") {
                conditions.push(self.kernel.has(flag));
            } else if directive == "// #else" {
                if let Some(condition) = conditions.last_mut() {
                    *condition = !*condition;
                }
            } else if directive == "// #end" {
                conditions.pop();
            } else if conditions.iter().all(|&condition| condition) {
                visit(self, line);
            }
        }
    }
}
