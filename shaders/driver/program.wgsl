// Replays the program of a rule's coefficients for one step.
//
// Linked before this: `wide.wgsl`, MAX_INSTRUCTIONS, MAX_SCALARS. The operations are those of src/program.rs.

// How many steps some parameters have taken, and what their rule keeps for all of them.
struct Clock {
    steps: u32,
    scalars: array<Wide, MAX_SCALARS>,
}

@group(0) @binding(3) var<storage, read_write> clocks: array<Clock>;

// Each instruction's result.
var<private> registers: array<Wide, MAX_INSTRUCTIONS>;

fn replayed(instruction: vec4<u32>, clock: u32) -> Wide {
    let step = clocks[clock].steps + 1u;
    // Constants and indices of scalars are no registers, but stay within reach of them.
    let a = registers[min(instruction.y, MAX_INSTRUCTIONS - 1u)];
    let b = registers[min(instruction.z, MAX_INSTRUCTIONS - 1u)];
    switch instruction.x {
        case 0u: { return instruction.yz; }
        case 1u: { return wide_from_u32(step); }
        case 2u: { return clocks[clock].scalars[instruction.y]; }
        case 3u: { return wide_add(a, b); }
        case 4u: { return wide_sub(a, b); }
        case 5u: { return wide_mul(a, b); }
        case 6u: { return wide_div(a, b); }
        case 7u: { return wide_sqrt(a); }
        case 8u: { return wide_power(a, step); }
        case 9u: { return select(Wide(), WIDE_ONE, wide_greater(a, b)); }
        default: { return select(registers[instruction.w], b, any(a != Wide())); }
    }
}

