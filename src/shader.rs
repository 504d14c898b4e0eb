//! Links a rule, a format and the driver into one WGSL module, by concatenation.

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
/// The rule's WGSL declares other coefficients or states than its Rust side.
pub fn link(
    rule: &dyn DynRule,
    groups: usize,
    access: Access,
    shared: bool,
) -> Result<Shader, Error> {
    check_struct(rule, "Coeffs", rule.coeff_names(), "f32")?;
    check_struct(rule, "State", rule.state_names(), "Real")?;

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
    Ok(Shader { text, constants, rule_line })
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

/// Refuses a WGSL struct whose fields are not those of its Rust twin: the host would upload, or the
/// driver load, one number in place of another.
fn check_struct(
    rule: &dyn DynRule,
    name: &str,
    expected: &[&str],
    field_type: &str,
) -> Result<(), Error> {
    let list = |fields: &[(String, String)]| {
        fields.iter().map(|(name, ty)| format!("{name}: {ty}")).collect::<Vec<_>>().join(", ")
    };
    let expected: Vec<_> =
        expected.iter().map(|field| ((*field).to_owned(), field_type.to_owned())).collect();
    let Some(found) = struct_fields(rule.wgsl(), name) else {
        let problem = format!(
            "its WGSL has no `struct {name}`; the driver expects `struct {name} {{ {} }}`",
            list(&expected)
        );
        return Err(Error::rule(rule.name(), problem));
    };
    if found == expected {
        return Ok(());
    }
    let problem = format!(
        "`struct {name}` differs between WGSL and Rust, in names, order or types.\n  \
         WGSL: {}\n  Rust: {}\nMake the two lists the same",
        list(&found),
        list(&expected)
    );
    Err(Error::rule(rule.name(), problem))
}

/// The fields of a WGSL struct as (name, type), or `None` if there is no such struct.
fn struct_fields(wgsl: &str, name: &str) -> Option<Vec<(String, String)>> {
    let code: String = wgsl
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    let mut rest = code.as_str();
    let body = loop {
        let (_, after) = rest.split_once("struct ")?;
        let (found, after_name) = after.split_once('{')?;
        if found.trim() == name {
            break after_name.split_once('}')?.0;
        }
        rest = after;
    };
    let field = |text: &str| {
        let (name, ty) = text.split_once(':')?;
        Some((name.trim().to_owned(), ty.trim().to_owned()))
    };
    Some(body.split(',').filter_map(field).collect())
}

#[cfg(test)]
mod tests {
    use super::struct_fields;

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
    }

    #[test]
    fn struct_fields_are_found_past_comments_and_other_structs() {
        let wgsl = "// struct B { z: f32 }\nstruct A { x: u32 }\nstruct B {\n  x: f32, // y: f32,\n  w: Real,\n}";
        assert_eq!(struct_fields(wgsl, "B"), Some(pairs(&[("x", "f32"), ("w", "Real")])));
        assert_eq!(struct_fields(wgsl, "A"), Some(pairs(&[("x", "u32")])));
        assert_eq!(struct_fields(wgsl, "C"), None);
    }
}
