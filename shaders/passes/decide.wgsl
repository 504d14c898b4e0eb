// Decides about a step before it runs: whether it is skipped, what gradients are multiplied by, and
// which coefficients it gets. One workgroup. On the CPU it is `Control::decide` in
// src/control/verdict.rs.
//
// `request` is what the host asks, written by src/control/request.rs; `coeffs` is what update
// kernels read: the verdict, then pages of coefficient slots.
// #import program
// #import tree

const INFINITY = 0x7f800000u;

// What the decision's program starts from: `Known` in src/control/verdict.rs.
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

// What it computes, rounded to f32, by their bits: `Computed` in src/control/verdict.rs.
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
        return outputs[BACKED_OFF];
    }
    report.growth_tracker += 1u;
    if report.growth_tracker != request.head.growth_interval {
        return scale;
    }
    report.growth_tracker = 0u;
    return select(scale, outputs[GROWN], outputs[GROWN] <= MAX_SCALE);
}

// Decides, and writes verdict and report; whether the step is skipped.
fn decide(sum: Measure) -> bool {
    let skip = request.head.skips != 0u && (sum.non_finite > 0u || outputs[LARGEST] >= INFINITY);
    report.norm = outputs[NORM];
    report.clip = outputs[CLIP];
    report.divisor = outputs[DIVISOR];
    report.scale = loss_scale[0];
    report.skipped += u32(skip);
    report.skipped_in_row = select(0u, report.skipped_in_row + 1u, skip);
    if request.head.scales != 0u {
        loss_scale[0] = next_scale(loss_scale[0], skip);
    }
    report.next_scale = loss_scale[0];
    report.skip = u32(skip);
    report.steps += 1u;
    report.non_finite = sum.non_finite;
    report.block = sum.block;
    report.lane = sum.lane;
    // The fields of Verdict.
    coeffs[0] = outputs[FACTOR];
    coeffs[1] = bitcast<u32>(request.head.limit);
    coeffs[2] = u32(skip);
    return skip;
}

const CHANGE_WORDS = 3u;
const MOVE_WORDS = 4u + 2u * MAX_SCALARS;

// Sets a step count that the host set, or that another count was before.
fn move_count(at: u32) {
    let count = request.words[at];
    let origin = request.words[at + 1u];
    if origin != NONE {
        step_counts.counts[count] = step_counts.counts[origin];
        return;
    }
    step_counts.counts[count].steps = request.words[at + 2u];
    for (var scalar = 0u; scalar < MAX_SCALARS; scalar++) {
        let word = at + 4u + 2u * scalar;
        step_counts.counts[count].scalars[scalar] =
            Wide(request.words[word], request.words[word + 1u]);
    }
}

// Applies what no step before this one did, in the order in which the host changed it.
fn apply_changes(invocation: u32, latest: u32) {
    for (var index = 0u; index < request.head.changes; index++) {
        let at = index * CHANGE_WORDS;
        let first = request.words[at + 1u];
        let moves = select(0u, request.words[at + 2u], request.words[at] > latest);
        for (var move_index = invocation; move_index < moves; move_index += WORKGROUP_SIZE) {
            move_count(first + move_index * MOVE_WORDS);
        }
        storageBarrier();
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

// Computes a program's outputs, as f32: its constants, and what it computes. The results stay in
// registers.
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

const TARGET_WORDS = 4u;

// Writes a slot's coefficients, and takes its step count one further unless the step is skipped.
fn fill_slot(place: u32, count: u32, program: Program) {
    for (var word = 0u; word < program.constants; word++) {
        coeffs[place + word] = outputs[word];
    }
    if skipped {
        return;
    }
    step_counts.counts[count].steps += 1u;
    for (var scalar = 0u; scalar < program.scalars; scalar++) {
        let result = request.words[program.first_scalar + scalar];
        step_counts.counts[count].scalars[scalar] = registers[result];
    }
}

var<workgroup> skipped: bool;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var own = Measure();
    if invocation < arrayLength(&gathered) {
        own = gathered[invocation];
    }
    sums[invocation] = own;
    sum_256(invocation);
    let latest = step_counts.latest;
    apply_changes(invocation, latest);
    // First the decision, by one thread; then every slot by one. In one loop, since compilers copy
    // the interpreter to where it is called.
    for (var turn = 0u; turn < 2u; turn++) {
        let decides = turn == 0u;
        let number = select(request.head.targets, 1u, decides);
        for (var index = invocation; index < number; index += WORKGROUP_SIZE) {
            let target_at = request.head.first_target + index * TARGET_WORDS;
            let count = request.words[target_at];
            if decides {
                load_known(sums[0]);
            } else {
                step = step_counts.counts[count].steps + 1u;
                for (var scalar = 0u; scalar < MAX_SCALARS; scalar++) {
                    inputs[scalar] = step_counts.counts[count].scalars[scalar];
                }
            }
            let program =
                program_at(select(request.words[target_at + 2u], request.head.decision, decides));
            replay(program);
            if decides {
                skipped = decide(sums[0]);
            } else {
                fill_slot(request.words[target_at + 1u], count, program);
            }
        }
        storageBarrier();
        workgroupBarrier();
    }
    if invocation == 0u {
        step_counts.latest = max(latest, request.head.number);
    }
}
