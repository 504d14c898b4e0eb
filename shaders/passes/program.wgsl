// Repeats recorded programs: coefficients that depend on the step, and the decision about it. The
// operations are those of src/rule/program.rs.
// #import wide

// What programs start from: the step, and numbers by their index.
var<private> step: u32;
var<private> inputs: array<Wide, MAX_INPUTS>;
// Each instruction's result.
var<private> registers: array<Wide, MAX_INSTRUCTIONS>;

fn replayed(instruction: vec4<u32>) -> Wide {
    // Constants and indices of inputs are no registers, but stay within reach of them.
    let a = registers[min(instruction.y, MAX_INSTRUCTIONS - 1u)];
    let b = registers[min(instruction.z, MAX_INSTRUCTIONS - 1u)];
    switch instruction.x {
        case 0u: { return instruction.yz; }
        case 1u: { return wide_from_u32(step); }
        case 2u: { return inputs[instruction.y]; }
        // Compilers copy functions to where they are called, so sums and differences share one
        // call.
        case 3u, 4u: {
            return wide_add(a, Wide(b.x, b.y ^ select(0u, WIDE_SIGN, instruction.x == 4u)));
        }
        case 5u: { return wide_mul(a, b); }
        case 6u: { return wide_div(a, b); }
        case 7u: { return wide_sqrt(a); }
        case 8u: { return wide_power(a, step); }
        case 9u: { return select(Wide(), WIDE_ONE, wide_greater(a, b)); }
        default: { return select(registers[instruction.w], b, any(a != Wide())); }
    }
}
