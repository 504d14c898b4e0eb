//! Links a rule, a format and the driver into one WGSL module, by concatenation.

use crate::contract;
use crate::error::Error;
use crate::format::{Access, BLOCK, ELEMENTS_PER_THREAD, LIVE_BITS};
use crate::rule::{Before, DynRule, Fields};
use std::fmt::Write;

/// Threads in a workgroup: every WebGPU device has as many.
pub const WORKGROUP_SIZE: u64 = 256;

/// Threads that share a block.
pub const THREADS_PER_BLOCK: u64 = BLOCK / ELEMENTS_PER_THREAD;

/// Blocks that a workgroup updates.
pub const BLOCKS_PER_WORKGROUP: u64 = WORKGROUP_SIZE / THREADS_PER_BLOCK;

/// The entry point's name.
pub const ENTRY_POINT: &str = "step";

/// Bindings in bind group 0 before the states: the table, the parameters, the gradients.
pub const FIRST_STATE_BINDING: u32 = 3;

/// Storage buffers that a rule with this many states binds: table, parameters, gradients and one for
/// each state.
pub fn storage_buffers(states: usize) -> u32 {
    FIRST_STATE_BINDING + states as u32
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
}

/// Links the step kernel of a rule with this many groups.
///
/// `shared` says that parameters and gradients lie in one buffer: WebGPU then wants both bound for
/// writing.
///
/// # Errors
/// The rule's WGSL declares other coefficients, states or options than its Rust side, or a name that
/// the driver uses.
pub fn link(
    rule: &dyn DynRule,
    groups: usize,
    access: Access,
    shared: bool,
) -> Result<Shader, Error> {
    let mut text = constants(rule, groups);
    let rule_line = text.lines().count() + 1;
    text += rule.wgsl();
    text += "\n";
    text += access.lanes();
    text += &access.array("params", 1, false);
    text += &access.array("grads", 2, !shared);
    for (state, binding) in rule.states().iter().zip(FIRST_STATE_BINDING..) {
        text += &access.array(&format!("state_{}", state.name), binding, false);
    }
    text += &state_functions(rule);
    text += include_str!("../shaders/driver/step.wgsl");
    let constants =
        rule.options().into_iter().map(|(name, on)| (name, f64::from(u8::from(on)))).collect();
    let shader = Shader { text, constants, rule_line };
    contract::check(rule, &shader)?;
    Ok(shader)
}

fn constants(rule: &dyn DynRule, groups: usize) -> String {
    format!(
        "// The {} step, linked by wgpu-optim.\n\
         const THREADS_PER_BLOCK = {THREADS_PER_BLOCK}u;\n\
         const BLOCKS_PER_WORKGROUP = {BLOCKS_PER_WORKGROUP}u;\n\
         const WORKGROUP_SIZE = {WORKGROUP_SIZE}u;\n\
         const LIVE_BITS = {LIVE_BITS}u;\n\
         const GROUPS = {groups}u;\n\
         alias Real = vec4<f32>;\n\n",
        rule.name()
    )
}

/// Loads and stores of the states in use; the others stay zero in registers and vanish.
fn state_functions(rule: &dyn DynRule) -> String {
    let mut load = String::from("\nfn load_state(at: vec4<u32>) -> State {\n    var s: State;\n");
    let mut store = String::from("\nfn store_state(at: vec4<u32>, live: vec4<bool>, s: State) {\n");
    for state in rule.states() {
        let name = state.name;
        let _ = writeln!(load, "    s.{name} = load_state_{name}(at);");
        let _ = writeln!(store, "    store_state_{name}(at, live, s.{name});");
    }
    load + "    return s;\n}\n" + &store + "}\n\n"
}
