//! The few lines of WGSL that depend on the fields of a rule's structs: loading and storing states,
//! adding up sums, handing them to the rule. Kernels import them like files.

use crate::model::Formats;
use crate::rule::{DynRule, StateInit, SumInit, SumKind};
use std::fmt::Write;

/// `load_state` and `store_state` for the states in use; the others stay zero in registers and
/// vanish.
pub(crate) fn states(rule: &dyn DynRule, formats: &Formats, stores: bool) -> String {
    let states = rule.states();
    let mut text = String::from("fn load_state(at: vec4<u32>) -> State {\n    var s: State;\n");
    for StateInit { name, .. } in &states {
        let _ = writeln!(text, "    s.{name} = load_state_{name}(at);");
    }
    text += "    return s;\n}\n";
    if !stores {
        return text;
    }
    let coded = states.iter().zip(formats.states.as_slice());
    let blocks: Vec<_> =
        coded.filter(|(_, codec)| codec.in_blocks()).map(|(s, _)| s.name).collect();
    let scales = if blocks.is_empty() { "" } else { ", scales: Scales" };
    text += &scales_of(&blocks);
    let _ =
        writeln!(text, "\nfn store_state(at: vec4<u32>, live: vec4<bool>, s: State{scales}) {{");
    for StateInit { name, .. } in &states {
        let scale = if blocks.contains(name) { format!(", scales.{name}") } else { String::new() };
        let _ = writeln!(text, "    store_state_{name}(at, live, s.{name}{scale});");
    }
    text + "}\n"
}

/// `Scales` and `scales_of`: the largest magnitudes, by their bits, of a block's states that are
/// stored in 8 bits. A maximum is the same in any order.
fn scales_of(states: &[&str]) -> String {
    if states.is_empty() {
        return String::new();
    }
    let count = states.len();
    let each = |text: &str| -> String {
        let line =
            |(k, name): (usize, &&str)| text.replace("NAME", name).replace("INDEX", &k.to_string());
        states.iter().enumerate().map(line).collect()
    };
    let fields = each("    NAME: u32,\n");
    let maxima =
        each("    atomicMax(&largest[first + INDEXu], largest_magnitude(s.NAME, live));\n");
    let loads = each("        atomicLoad(&largest[first + INDEXu]),\n");
    format!(
        "\nstruct Scales {{\n{fields}}}\n\n\
         var<workgroup> largest: array<atomic<u32>, {count}u * BLOCKS_PER_WORKGROUP>;\n\n\
         fn scales_of(block: u32, live: vec4<bool>, s: State) -> Scales {{\n    \
         let first = {count}u * block;\n{maxima}    workgroupBarrier();\n    \
         return Scales(\n{loads}    );\n}}\n"
    )
}

/// The fields of so many sums, of four words each: squares in three scales, and a plain sum.
fn sum_fields(sums: usize) -> String {
    (0..sums).map(|k| format!("    sum_{k}: vec4<f32>,\n")).collect()
}

/// `Summand`, so many sums, and `plus`.
pub(crate) fn summand(sums: usize) -> String {
    let fields = sum_fields(sums);
    let each = |text: &str| -> String {
        (0..sums).map(|k| text.replace("SUM", &format!("sum_{k}"))).collect()
    };
    let sums = each("        a.SUM + b.SUM,\n");
    let exchanged = each("        subgroupShuffleXor(own.SUM, bit),\n");
    format!(
        "// Sums of squares in three scales each, and as the fourth component a plain sum.\n\
         struct Summand {{\n{fields}}}\n\n\
         fn plus(a: Summand, b: Summand) -> Summand {{\n    return Summand(\n{sums}    );\n}}\n\n\
         // #if subgroups\n\
         // That of the thread whose index within eight differs in this bit.\n\
         fn exchanged(own: Summand, bit: u32) -> Summand {{\n    return Summand(\n{exchanged}    );\n}}\n\
         // #end\n"
    )
}

/// `rule_summand`: what a thread's elements add to a rule's sums.
pub(crate) fn rule_summand(sums: &[SumInit]) -> String {
    let mut text = String::from(
        "// #import summand\n// #import squares\n\
         fn rule_summand(x: Summands, live: vec4<bool>) -> Summand {\n    return Summand(\n",
    );
    for SumInit { name, kind } in sums {
        let add = match kind {
            SumKind::Total => "total",
            SumKind::Norm => "squares",
        };
        let _ = writeln!(text, "        {add}(select(Real(0.0), x.{name}, live)),");
    }
    text + "    );\n}\n"
}

/// `tensor_coeffs`: the coefficients of a block's tensor, by the rule's `with_sums`.
pub(crate) fn tensor_coeffs(sums: &[SumInit]) -> String {
    let fields = sum_fields(sums.len());
    let mut text =
        format!("// What a rule's sums came to, as `Summand`.\nstruct Total {{\n{fields}}}\n\n");
    text.push_str(
        "// #import lengths\n\
         fn tensor_coeffs(c: Coeffs, block: u32) -> Coeffs {\n    \
         let total = totals[tensors[block].y];\n    return with_sums(c, Sums(\n",
    );
    for (k, SumInit { kind, .. }) in sums.iter().enumerate() {
        let _ = match kind {
            SumKind::Total => writeln!(text, "        total.sum_{k}.w,"),
            SumKind::Norm => writeln!(text, "        length_of(total.sum_{k}),"),
        };
    }
    text + "    ));\n}\n"
}
