//! Links a rule, a format and the driver into one WGSL module, by concatenation.

use crate::contract;
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::format::{Access, BLOCK, ELEMENTS_PER_THREAD, LIVE_BITS};
use crate::rule::{Before, Fields, StateInit};
use std::fmt::Write;

/// Threads in a workgroup: every WebGPU device has as many.
pub const WORKGROUP_SIZE: u64 = 256;

/// Threads that share a block.
pub const THREADS_PER_BLOCK: u64 = BLOCK / ELEMENTS_PER_THREAD;

/// Blocks that a workgroup updates.
pub const BLOCKS_PER_WORKGROUP: u64 = WORKGROUP_SIZE / THREADS_PER_BLOCK;

/// The most norms that one workgroup of the sum kernel adds up.
pub const SUM_LENGTH: u64 = 4 * WORKGROUP_SIZE;

/// Bytes of one entry of `norms.wgsl`.
pub const NORMS_BYTES: u64 = 32;

/// Bindings in bind group 0 before the states: the table, the parameters, the gradients.
pub const FIRST_STATE_BINDING: u32 = 3;

/// Storage buffers that a rule binds: table, parameters, gradients and one for each state; with a trust
/// ratio also the blocks' tensors and the norms.
pub fn storage_buffers(rule: &dyn DynRule) -> u32 {
    let trust = if rule.trust_ratio().is_some() { 2 } else { 0 };
    FIRST_STATE_BINDING + rule.states().len() as u32 + trust
}

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

/// What a kernel over blocks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Sums up the squares that a trust ratio takes.
    Norm,
    /// Updates parameters and states.
    Step,
}

/// How workgroups add up norms.
const TREE: &str = include_str!("../shaders/driver/tree.wgsl");

/// Links a kernel of a rule with this many groups.
///
/// `shared` says that parameters and gradients lie in one buffer: WebGPU then wants both bound for
/// writing, if one is.
///
/// # Errors
/// The rule's WGSL declares other coefficients, states or options than its Rust side, or a name that
/// the driver uses.
pub fn link(
    rule: &dyn DynRule,
    groups: usize,
    stage: Stage,
    access: Access,
    shared: bool,
) -> Result<Shader, Error> {
    let mut text = constants(rule, groups);
    let rule_line = text.lines().count() + 1;
    text += rule.wgsl();
    text += "\n";
    // Norms are added up in one order, whatever the access, so that placement changes no bit.
    text += if stage == Stage::Norm { Access::Vec4.lanes() } else { access.lanes() };
    let read_only = stage == Stage::Norm;
    text += &access.array("params", 1, read_only);
    text += &access.array("grads", 2, read_only || !shared);
    for (state, binding) in rule.states().iter().zip(FIRST_STATE_BINDING..) {
        text += &access.array(&format!("state_{}", state.name), binding, read_only);
    }
    text += &load_state(rule);
    text += include_str!("../shaders/driver/block.wgsl");
    if rule.trust_ratio().is_some() {
        text += include_str!("../shaders/driver/norms.wgsl");
        text += &norms_bindings(rule, stage);
    }
    text += &match stage {
        Stage::Norm => [TREE, include_str!("../shaders/driver/norm.wgsl")].concat(),
        Stage::Step => {
            store_state(rule) + coeffs_of(rule) + include_str!("../shaders/driver/step.wgsl")
        }
    };
    let constants =
        rule.options().into_iter().map(|(name, on)| (name, f64::from(u8::from(on)))).collect();
    let entry_point = match stage {
        Stage::Norm => "norm",
        Stage::Step => "step",
    };
    let shader = Shader { text, constants, rule_line, entry_point };
    contract::check(rule, &shader)?;
    Ok(shader)
}

/// Links the kernel that adds up norms; it is the same for every rule.
pub fn link_sum() -> Shader {
    let text = format!("const WORKGROUP_SIZE = {WORKGROUP_SIZE}u;\nalias Real = vec4<f32>;\n")
        + include_str!("../shaders/driver/norms.wgsl")
        + TREE
        + include_str!("../shaders/driver/sum.wgsl");
    Shader { text, constants: Vec::new(), rule_line: 0, entry_point: "sum" }
}

fn constants(rule: &dyn DynRule, groups: usize) -> String {
    format!(
        "// A kernel of {}, linked by wgpu-optim.\n\
         const THREADS_PER_BLOCK = {THREADS_PER_BLOCK}u;\n\
         const BLOCKS_PER_WORKGROUP = {BLOCKS_PER_WORKGROUP}u;\n\
         const WORKGROUP_SIZE = {WORKGROUP_SIZE}u;\n\
         const LIVE_BITS = {LIVE_BITS}u;\n\
         const GROUPS = {groups}u;\n\
         alias Real = vec4<f32>;\n\n",
        rule.name()
    )
}

/// Which coefficients a block's rule gets: its group's, or scaled by its tensor's trust ratio.
fn coeffs_of(rule: &dyn DynRule) -> &'static str {
    match rule.trust_ratio() {
        Some(_) => include_str!("../shaders/driver/trust.wgsl"),
        None => include_str!("../shaders/driver/plain.wgsl"),
    }
}

/// The blocks' tensors and the norms, bound after the states.
fn norms_bindings(rule: &dyn DynRule, stage: Stage) -> String {
    let tensors = FIRST_STATE_BINDING + rule.states().len() as u32;
    let access = match stage {
        Stage::Norm => "read_write",
        Stage::Step => "read",
    };
    format!(
        "\n@group(0) @binding({tensors}) var<storage, read> tensors: array<vec2<u32>>;\n\
         @group(0) @binding({}) var<storage, {access}> norms: array<Norms>;\n\n",
        tensors + 1
    )
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
