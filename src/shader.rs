//! Links a rule, a format and the driver into one WGSL module, by concatenation.

use crate::contract;
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::format::{Access, BLOCK, ELEMENTS_PER_THREAD, LIVE_BITS};
use crate::program::{MAX_INPUTS, MAX_INSTRUCTIONS, MAX_OUTPUTS, MAX_SCALARS};
use crate::rule::{Before, Fields, StateInit};
use std::fmt::Write;

/// Threads in a workgroup: every WebGPU device has as many.
pub const WORKGROUP_SIZE: u64 = 256;

/// Threads that share a block.
pub const THREADS_PER_BLOCK: u64 = BLOCK / ELEMENTS_PER_THREAD;

/// Blocks that a workgroup updates.
pub const BLOCKS_PER_WORKGROUP: u64 = WORKGROUP_SIZE / THREADS_PER_BLOCK;

/// The most partial sums that one workgroup of the sum kernel adds up.
pub const SUM_LENGTH: u64 = 4 * WORKGROUP_SIZE;

/// Threads that measure a block together.
const THREADS_PER_MEASURED_BLOCK: u64 = 16;

/// Blocks that a workgroup measures.
pub const BLOCKS_MEASURED_PER_WORKGROUP: u64 = WORKGROUP_SIZE / THREADS_PER_MEASURED_BLOCK;

/// Bytes of one entry of `norms.wgsl`, or of `measures.wgsl`.
pub const SUMS_BYTES: u64 = 32;

/// The most entries that the gather kernel leaves, one for each thread of the control kernel.
pub const MAX_GATHERED: u64 = WORKGROUP_SIZE;

/// Bindings in bind group 0 before the states: the table, the parameters, the gradients.
pub const FIRST_STATE_BINDING: u32 = 3;

/// Storage buffers that a step of a rule binds: table, parameters, gradients and one for each state; with a
/// trust ratio also the tensors' norms; where it sums up changes, these; with either, the blocks' tensors.
pub fn storage_buffers(rule: &dyn DynRule, watches: bool) -> u32 {
    let sums = u32::from(rule.trust_ratio().is_some()) + u32::from(watches);
    FIRST_STATE_BINDING + rule.states().len() as u32 + sums + u32::from(sums > 0)
}

/// Storage buffers that the control kernel binds.
pub const DECISION_STORAGE_BUFFERS: u64 = 6;

/// What structs in uniform buffers are aligned to, in bytes.
pub const UNIFORM_ALIGNMENT: u64 = 16;

/// Bytes of one group's coefficients: f32 each, [`Before`]'s and then the rule's own, both padded.
pub fn group_stride(rule: &dyn DynRule) -> u64 {
    let padded = |count: usize| (4 * count as u64).next_multiple_of(UNIFORM_ALIGNMENT);
    padded(Before::<f64>::NAMES.len()) + padded(rule.coeff_names().len())
}

/// A linked module.
#[derive(Debug, Clone, PartialEq)]
pub struct Shader {
    /// The WGSL text.
    pub text: String,
    /// The values of its `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// The line, counted from 1, on which the rule's own text starts.
    pub rule_line: usize,
    /// The entry point's name.
    pub entry_point: &'static str,
}

/// What a kernel of a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Sums up the squares that a trust ratio takes.
    Norm,
    /// Updates parameters and states.
    Step,
}

/// What steps do beside updating. What is not asked for is not in the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Extras {
    /// Gradients are clamped, element by element.
    pub clamps: bool,
    /// A step may be skipped.
    pub skips: bool,
    /// Gradients are zeroed as they are read.
    pub zeroes: bool,
    /// The squares of the parameters and of their changes are summed up.
    pub watches: bool,
}

/// One of the kernels of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// What it does.
    pub stage: Stage,
    /// How it reaches elements.
    pub access: Access,
    /// Whether parameters and gradients lie in one buffer: WebGPU then wants both bound for writing, if
    /// one is.
    pub shared: bool,
    /// What it does beside.
    pub extras: Extras,
}

impl Variant {
    /// Whether it writes gradients, or must be bound as if it did.
    pub fn writes_grads(&self) -> bool {
        self.stage == Stage::Step && (self.shared || self.extras.zeroes)
    }

    /// Whether it sums up something for each block.
    pub fn sums(&self) -> bool {
        self.stage == Stage::Norm || self.extras.watches
    }
}

const TABLE: &str = include_str!("../shaders/driver/table.wgsl");
const SQUARES: &str = include_str!("../shaders/driver/squares.wgsl");
const NORMS: &str = include_str!("../shaders/driver/norms.wgsl");
const NORMS_SUM: &str = include_str!("../shaders/driver/norms_sum.wgsl");
const MEASURES: &str = include_str!("../shaders/driver/measures.wgsl");
const TREE: &str = include_str!("../shaders/driver/tree.wgsl");
const BLOCK_OF_64: &str = include_str!("../shaders/driver/block_of_64.wgsl");
const PARTIALS: &str = include_str!("../shaders/driver/partials.wgsl");

/// Links a kernel of a rule whose pages have this many entries.
///
/// # Errors
/// The rule's WGSL declares other coefficients, states or options than its Rust side, or a name that
/// the driver uses.
pub fn link(rule: &dyn DynRule, entries: usize, variant: &Variant) -> Result<Shader, Error> {
    let mut text = format!("// A kernel of {}, linked by wgpu-optim.\n", rule.name());
    text += &constants();
    text += &format!(
        "const GROUPS = {entries}u;\nconst CLAMPS = {};\nconst SKIPS = {};\n\n",
        variant.extras.clamps, variant.extras.skips
    );
    let rule_line = text.lines().count() + 1;
    text += rule.wgsl();
    text += "\n";
    // Sums are added up in one order, whatever the access, so that placement changes no bit.
    text += if variant.sums() { Access::Vec4.lanes() } else { variant.access.lanes() };
    text += variant.access.rows();
    text += TABLE;
    text += &arrays(rule, variant);
    text += include_str!("../shaders/driver/block.wgsl");
    if rule.trust_ratio().is_some() || variant.sums() {
        text += NORMS;
        text += &sums_bindings(rule, variant);
    }
    text += &match variant.stage {
        Stage::Norm => {
            let norm = include_str!("../shaders/driver/norm.wgsl");
            [NORMS_SUM, SQUARES, TREE, BLOCK_OF_64, norm, PARTIALS].concat()
        }
        Stage::Step => step(rule, variant),
    };
    let constants =
        rule.options().into_iter().map(|(name, on)| (name, f64::from(u8::from(on)))).collect();
    let entry_point = if variant.sums() { "partial_sums" } else { "step" };
    let shader = Shader { text, constants, rule_line, entry_point };
    contract::check(rule, &shader)?;
    Ok(shader)
}

/// Links the kernel that measures gradients; it is the same for every rule.
pub fn link_measure(access: Access) -> Shader {
    let bindings = "@group(0) @binding(2) var<storage, read> tensors: array<vec2<u32>>;\n\
         @group(0) @binding(3) var<storage, read_write> partials: array<Summand>;\n\n";
    let text = constants_with(THREADS_PER_MEASURED_BLOCK)
        + Access::Vec4.lanes()
        + access.rows()
        + TABLE
        + &access.array("grads", 1, true)
        + MEASURES
        + TREE
        + bindings
        + include_str!("../shaders/driver/measure.wgsl")
        + PARTIALS;
    Shader { text, constants: Vec::new(), rule_line: 0, entry_point: "partial_sums" }
}

/// Links the kernel that writes the tables of blocks, with the blocks' tensors if something `sums`.
pub fn link_rows(sums: bool) -> Shader {
    let tensors = match sums {
        true => include_str!("../shaders/driver/rows_tensors.wgsl"),
        false => include_str!("../shaders/driver/rows_alone.wgsl"),
    };
    let text = constants()
        + &format!("const BLOCK = {BLOCK}u;\n\n")
        + tensors
        + include_str!("../shaders/driver/rows.wgsl");
    Shader { text, constants: Vec::new(), rule_line: 0, entry_point: "rows" }
}

/// What is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sums {
    /// Norms of parameters and of their directions or changes.
    Norms,
    /// Measures of gradients.
    Measures,
}

impl Sums {
    /// WGSL: what is added up, and how.
    fn summand(self) -> String {
        match self {
            Self::Norms => [NORMS, NORMS_SUM, TREE].concat(),
            Self::Measures => [MEASURES, TREE].concat(),
        }
    }
}

/// Links the kernel that adds up partial sums, tensor by tensor.
pub fn link_sum(sums: Sums) -> Shader {
    let text = constants() + &sums.summand() + include_str!("../shaders/driver/sum.wgsl");
    Shader { text, constants: Vec::new(), rule_line: 0, entry_point: "sum" }
}

/// Links the kernel that adds up all measures to a few.
pub fn link_gather() -> Shader {
    let text =
        constants() + &Sums::Measures.summand() + include_str!("../shaders/driver/gather.wgsl");
    Shader { text, constants: Vec::new(), rule_line: 0, entry_point: "gather" }
}

/// Links the kernel that decides on a step.
pub fn link_control() -> Shader {
    let text = constants()
        + &format!(
            "const MAX_INSTRUCTIONS = {MAX_INSTRUCTIONS}u;\nconst MAX_SCALARS = {MAX_SCALARS}u;\n\
             const MAX_INPUTS = {MAX_INPUTS}u;\nconst MAX_OUTPUTS = {MAX_OUTPUTS}u;\n\n"
        )
        + &Sums::Measures.summand()
        + include_str!("../shaders/driver/wide.wgsl")
        + include_str!("../shaders/driver/program.wgsl")
        + include_str!("../shaders/driver/control.wgsl");
    Shader { text, constants: Vec::new(), rule_line: 0, entry_point: "control" }
}

/// What every module begins with.
fn constants() -> String {
    constants_with(THREADS_PER_BLOCK)
}

/// The same, where so many threads share a block.
fn constants_with(threads_per_block: u64) -> String {
    format!(
        "const THREADS_PER_BLOCK = {threads_per_block}u;\n\
         const BLOCKS_PER_WORKGROUP = {}u;\n\
         const WORKGROUP_SIZE = {WORKGROUP_SIZE}u;\n\
         const LIVE_BITS = {LIVE_BITS}u;\n\
         alias Real = vec4<f32>;\n\n",
        WORKGROUP_SIZE / threads_per_block
    )
}

/// The bindings of parameters, gradients and states, and how to load and store them.
fn arrays(rule: &dyn DynRule, variant: &Variant) -> String {
    let Variant { stage, access, .. } = *variant;
    let read_only = stage == Stage::Norm;
    let mut text = access.array("params", 1, read_only);
    text += &access.array("grads", 2, !variant.writes_grads());
    for (state, binding) in rule.states().iter().zip(FIRST_STATE_BINDING..) {
        text += &access.array(&format!("state_{}", state.name), binding, read_only);
    }
    text + &load_state(rule)
}

/// The update, and the entry point that calls it.
fn step(rule: &dyn DynRule, variant: &Variant) -> String {
    // Each block's coefficients: its group's, or scaled by its tensor's trust ratio.
    let coeffs = match rule.trust_ratio() {
        Some(_) => include_str!("../shaders/driver/trust.wgsl"),
        None => include_str!("../shaders/driver/plain.wgsl"),
    };
    let grads = match variant.extras.zeroes {
        true => include_str!("../shaders/driver/zeroed_grads.wgsl"),
        false => include_str!("../shaders/driver/kept_grads.wgsl"),
    };
    let text = store_state(rule) + coeffs + grads + include_str!("../shaders/driver/step.wgsl");
    if !variant.extras.watches {
        return text + include_str!("../shaders/driver/plain_step.wgsl");
    }
    let watched = include_str!("../shaders/driver/watched_step.wgsl");
    text + &[NORMS_SUM, SQUARES, TREE, BLOCK_OF_64, watched, PARTIALS].concat()
}

/// The blocks' tensors, the tensors' norms for a step with trust ratios, and the blocks' own sums where
/// the kernel has some; bound after the states in this order.
fn sums_bindings(rule: &dyn DynRule, variant: &Variant) -> String {
    let mut binding = FIRST_STATE_BINDING + rule.states().len() as u32;
    let mut text = String::from("\n");
    let mut bind = |declaration: &str| {
        let _ = writeln!(text, "@group(0) @binding({binding}) var<storage, {declaration};");
        binding += 1;
    };
    bind("read> tensors: array<vec2<u32>>");
    if variant.stage == Stage::Step && rule.trust_ratio().is_some() {
        bind("read> norms: array<Norms>");
    }
    if variant.sums() {
        bind("read_write> partials: array<Norms>");
    }
    text + "\n"
}

/// Loads the states in use; the others stay zero in registers and vanish.
fn load_state(rule: &dyn DynRule) -> String {
    let mut text = String::from("\nfn load_state(at: vec4<u32>) -> State {\n    var s: State;\n");
    for StateInit { name, .. } in rule.states() {
        let _ = writeln!(text, "    s.{name} = load_state_{name}(at);");
    }
    text + "    return s;\n}\n\n"
}

/// Stores the states in use.
fn store_state(rule: &dyn DynRule) -> String {
    let mut text = String::from("\nfn store_state(at: vec4<u32>, live: vec4<bool>, s: State) {\n");
    for StateInit { name, .. } in rule.states() {
        let _ = writeln!(text, "    store_state_{name}(at, live, s.{name});");
    }
    text + "}\n\n"
}
