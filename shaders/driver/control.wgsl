// Decides on a step before it runs: whether it is skipped, what gradients are multiplied by, and which
// coefficients it gets. One workgroup. Its twin on the CPU is `Control::decide` in src/control.rs.
//
// Linked before this: `measures.wgsl`, `tree.wgsl`, `wide.wgsl`, `program.wgsl`.

// What the host asks of one step, written by src/request.rs.
struct Request {
    moves: u32,           // clocks that were set, from the first word on
    entries: u32,         // coefficients to compute, from `first_entry` on
    first_entry: u32,
    decision: u32,        // the program of the decision
    scaled: u32,          // whether there is a loss scale, and non-finite gradients skip the step
    growth_interval: u32,
    words: array<u32>,
}

// What is read back, by src/statistics.rs. f32 by their bits.
struct Report {
    norm: u32,
    clip: u32,            // what the norm's clipping multiplied gradients by
    scale: u32,           // that gradients came with
    next_scale: u32,
    growth_tracker: u32,
    skip: u32,            // whether the last step was skipped
    skipped: u32,         // steps skipped in all
    steps: u32,           // steps decided on
    non_finite: u32,
    block: u32,
    lane: u32,
    divisor: u32,         // by which gradients were unscaled and averaged
}

@group(0) @binding(0) var<storage, read> measures: array<Measure>;
@group(0) @binding(1) var<storage, read_write> loss_scale: array<u32>;
@group(0) @binding(2) var<storage, read_write> report: Report;
@group(0) @binding(3) var<storage, read_write> clocks: array<Clock>;
@group(0) @binding(4) var<storage, read_write> coeffs: array<u32>;
@group(1) @binding(0) var<storage, read> request: Request;

const INFINITY = 0x7f800000u;
const MAX_SCALE = 0x7e800000u; // 2^126, MAX_SCALE in src/control.rs

// What the decision's program starts from: `Known` in src/control.rs.
fn load_known(total: Measure) {
    var spoilt = Wide();
    if total.non_finite > 0u {
        spoilt = select(Wide(0u, WIDE_INFINITY), WIDE_NAN, total.nan > 0u);
    }
    var known = array(
        loss_scale[0],
        bitcast<u32>(total.sums.w),
        bitcast<u32>(total.sums.x),
        bitcast<u32>(total.sums.y),
        bitcast<u32>(total.sums.z),
    );
    for (var index = 0u; index < 5u; index++) {
        inputs[index] = wide_from_f32(known[index]);
    }
    inputs[5] = spoilt;
}

// What it computes, rounded to f32, by their bits: `Computed` in src/control.rs.
const DIVISOR = 0u;
const LARGEST = 1u;
const NORM = 2u;
const CLIP = 3u;
const FACTOR = 4u;
const BACKED_OFF = 5u;
const GROWN = 6u;
var<private> outputs: array<u32, MAX_OUTPUTS>;

// Moves the scale after a step.
fn next_scale(scale: u32, skip: bool) -> u32 {
    if skip {
        report.growth_tracker = 0u;
        report.skipped += 1u;
        return outputs[BACKED_OFF];
    }
    report.growth_tracker += 1u;
    if report.growth_tracker != request.growth_interval {
        return scale;
    }
    report.growth_tracker = 0u;
    return select(scale, outputs[GROWN], outputs[GROWN] <= MAX_SCALE);
}

// Whether the step is skipped, and the bits of what gradients are multiplied by.
struct Decision {
    skip: u32,
    factor: u32,
}

fn decide(total: Measure) -> Decision {
    let scaled = request.scaled != 0u;
    let skip = scaled && (total.non_finite > 0u || outputs[LARGEST] >= INFINITY);
    report.norm = outputs[NORM];
    report.clip = outputs[CLIP];
    report.divisor = outputs[DIVISOR];
    report.scale = loss_scale[0];
    if scaled {
        loss_scale[0] = next_scale(loss_scale[0], skip);
    }
    report.next_scale = loss_scale[0];
    report.skip = u32(skip);
    report.steps += 1u;
    report.non_finite = total.non_finite;
    report.block = total.block;
    report.lane = total.lane;
    return Decision(u32(skip), outputs[FACTOR]);
}

const MOVE_WORDS = 4u + 2u * MAX_SCALARS;

// Sets a clock that the host set, or that has its count from another.
fn move_clock(index: u32) {
    let at = index * MOVE_WORDS;
    let clock = request.words[at];
    let origin = request.words[at + 1u];
    if origin != NONE {
        clocks[clock] = clocks[origin];
        return;
    }
    clocks[clock].steps = request.words[at + 2u];
    for (var scalar = 0u; scalar < MAX_SCALARS; scalar++) {
        let word = at + 4u + 2u * scalar;
        clocks[clock].scalars[scalar] = Wide(request.words[word], request.words[word + 1u]);
    }
}

// A program: its numbers of constants, instructions, outputs and scalars, and then these.
struct Program {
    constants: u32,
    instructions: u32,
    outputs: u32,
    scalars: u32,
    first_constant: u32,
    first_instruction: u32,
    first_output: u32,
    first_scalar: u32,
}

fn program_at(at: u32) -> Program {
    var program: Program;
    program.constants = request.words[at];
    program.instructions = request.words[at + 1u];
    program.outputs = request.words[at + 2u];
    program.scalars = request.words[at + 3u];
    program.first_constant = at + 4u;
    program.first_instruction = program.first_constant + program.constants;
    program.first_output = program.first_instruction + 4u * program.instructions;
    program.first_scalar = program.first_output + 2u * program.outputs;
    return program;
}

// Computes a program's outputs, as f32: its constants, and what it computes. It leaves its registers.
fn replay(program: Program) {
    for (var word = 0u; word < program.constants; word++) {
        outputs[word] = request.words[program.first_constant + word];
    }
    for (var index = 0u; index < program.instructions; index++) {
        let word = program.first_instruction + 4u * index;
        registers[index] = replayed(vec4<u32>(
            request.words[word],
            request.words[word + 1u],
            request.words[word + 2u],
            request.words[word + 3u],
        ));
    }
    for (var output = 0u; output < program.outputs; output++) {
        let word = program.first_output + 2u * output;
        outputs[request.words[word]] = wide_to_f32(registers[request.words[word + 1u]]);
    }
}

const ENTRY_WORDS = 4u;
// Where Before in block.wgsl has its limit, and what it is where the step is skipped.
const LIMIT_WORD = 3u;
const MINUS_ONE = 0xbf800000u;

// Writes an entry's coefficients, and takes its clock one step further unless the step is skipped.
fn fill_entry(place: u32, clock: u32, program: Program) {
    for (var word = 0u; word < program.constants; word++) {
        coeffs[place + word] = outputs[word];
    }
    // Before's sign is 1 or -1, and stays the factor's.
    coeffs[place] = decision.factor ^ (outputs[0] & 0x80000000u);
    if decision.skip != 0u {
        coeffs[place + LIMIT_WORD] = MINUS_ONE;
        return;
    }
    clocks[clock].steps += 1u;
    for (var scalar = 0u; scalar < program.scalars; scalar++) {
        let result = request.words[program.first_scalar + scalar];
        clocks[clock].scalars[scalar] = registers[result];
    }
}

var<workgroup> decision: Decision;

@compute @workgroup_size(WORKGROUP_SIZE)
fn control(@builtin(local_invocation_index) invocation: u32) {
    var own = Measure();
    if invocation < arrayLength(&measures) {
        own = measures[invocation];
    }
    sums[invocation] = own;
    sum_256(invocation);
    for (var index = invocation; index < request.moves; index += WORKGROUP_SIZE) {
        move_clock(index);
    }
    // First the decision, by one thread; then every entry by one. In one loop, since compilers copy the
    // interpreter to where it is called.
    for (var turn = 0u; turn < 2u; turn++) {
        let decides = turn == 0u;
        let count = select(request.entries, 1u, decides);
        for (var index = invocation; index < count; index += WORKGROUP_SIZE) {
            let entry = request.first_entry + index * ENTRY_WORDS;
            let clock = request.words[entry];
            if decides {
                load_known(sums[0]);
            } else {
                step = clocks[clock].steps + 1u;
                for (var scalar = 0u; scalar < MAX_SCALARS; scalar++) {
                    inputs[scalar] = clocks[clock].scalars[scalar];
                }
            }
            let program =
                program_at(select(request.words[entry + 2u], request.decision, decides));
            replay(program);
            if decides {
                decision = decide(sums[0]);
            } else {
                fill_entry(request.words[entry + 1u], clock, program);
            }
        }
        storageBarrier();
        workgroupBarrier();
    }
}
