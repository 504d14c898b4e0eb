// Decides on a step before it runs: whether it is skipped, what gradients are multiplied by, and which
// coefficients it gets. One workgroup. Its twin on the CPU is `Control::decide` in src/control.rs.
//
// Linked before this: `measures.wgsl`, `tree.wgsl`, `wide.wgsl`, `program.wgsl`.

// What the host asks of one step, written by src/request.rs.
struct Request {
    moves: u32,           // clocks that were set, from the first word on
    entries: u32,         // coefficients to compute, from `first_entry` on
    first_entry: u32,
    clip: u32,            // CLIP_L2, CLIP_MAX, or neither
    max_norm: Wide,
    divisor: Wide,        // the number of micro-batches
    growth_factor: Wide,
    backoff_factor: Wide,
    min_scale: u32,       // the bits of an f32
    growth_interval: u32,
    scaled: u32,          // whether there is a loss scale, and non-finite gradients skip the step
    padding: u32,
    words: array<u32>,
}

const CLIP_L2 = 1u;
const CLIP_MAX = 2u;

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
@group(0) @binding(4) var<storage, read_write> coeffs: array<u32>;
@group(1) @binding(0) var<storage, read> request: Request;

const INFINITY = 0x7f800000u;
const CLIP_EPS = Wide(0xa0b5ed8du, 0x3eb0c6f7u); // 1e-6
const TWO_TO_160 = Wide(0u, 0x49f00000u);
const TWO_TO_MINUS_160 = Wide(0u, 0x35f00000u);

fn wide(x: f32) -> Wide {
    return wide_from_f32(bitcast<u32>(x));
}

// The norm of all gradients as they arrived.
fn raw_norm(total: Measure) -> Wide {
    if total.nan > 0u {
        return WIDE_NAN;
    }
    if total.non_finite > 0u {
        return Wide(0u, WIDE_INFINITY);
    }
    if request.clip == CLIP_MAX {
        return wide(total.sums.w);
    }
    // The parts were scaled by 2^80 and 2^-80 before they were squared.
    let small = wide_mul(wide(total.sums.x), TWO_TO_MINUS_160);
    let large = wide_mul(wide(total.sums.z), TWO_TO_160);
    return wide_sqrt(wide_add(wide_add(small, wide(total.sums.y)), large));
}

fn clip_of(norm: Wide) -> Wide {
    if request.clip == 0u {
        return WIDE_ONE;
    }
    let clip = wide_div(request.max_norm, wide_add(norm, CLIP_EPS));
    // Written so that a NaN stays one.
    if wide_greater(clip, WIDE_ONE) {
        return WIDE_ONE;
    }
    return clip;
}

// Moves the scale after a step. The bits of positive f32 are ordered as they are.
fn next_scale(scale: u32, skip: bool) -> u32 {
    if skip {
        report.growth_tracker = 0u;
        report.skipped += 1u;
        return max(
            wide_to_f32(wide_mul(wide_from_f32(scale), request.backoff_factor)),
            request.min_scale,
        );
    }
    report.growth_tracker += 1u;
    if report.growth_tracker != request.growth_interval {
        return scale;
    }
    report.growth_tracker = 0u;
    let grown = wide_to_f32(wide_mul(wide_from_f32(scale), request.growth_factor));
    return select(scale, grown, grown < INFINITY);
}

// Whether the step is skipped, and the bits of what gradients are multiplied by.
struct Decision {
    skip: bool,
    factor: u32,
}

fn decide(total: Measure) -> Decision {
    let scale = loss_scale[0];
    let divisor = wide_mul(wide_from_f32(scale), request.divisor);
    let largest = wide_to_f32(wide_div(wide(total.sums.w), divisor));
    let scaled = request.scaled != 0u;
    let skip = scaled && (total.non_finite > 0u || largest >= INFINITY);
    let norm = wide_div(raw_norm(total), divisor);
    let clip = clip_of(norm);
    report.norm = wide_to_f32(norm);
    report.clip = wide_to_f32(clip);
    report.scale = scale;
    if scaled {
        loss_scale[0] = next_scale(scale, skip);
    }
    report.next_scale = loss_scale[0];
    report.skip = u32(skip);
    report.steps += 1u;
    report.non_finite = total.non_finite;
    report.block = total.block;
    report.lane = total.lane;
    report.divisor = wide_to_f32(divisor);
    return Decision(skip, wide_to_f32(wide_div(clip, divisor)));
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

const ENTRY_WORDS = 4u;
// Where Before in block.wgsl has its limit, and what it is where the step is skipped.
const LIMIT_WORD = 3u;
const MINUS_ONE = 0xbf800000u;

// Writes an entry's coefficients: the host's, and those that depend on the step.
fn fill_entry(index: u32, decision: Decision) {
    let at = request.first_entry + index * ENTRY_WORDS;
    let clock = request.words[at];
    let place = request.words[at + 1u];
    let program = request.words[at + 2u];
    let constants = request.words[program];
    let instructions = request.words[program + 1u];
    var next = program + 4u;
    for (var word = 0u; word < constants; word++) {
        coeffs[place + word] = request.words[next + word];
    }
    if decision.skip {
        coeffs[place + LIMIT_WORD] = MINUS_ONE;
        return;
    }
    // The first is Before's sign, 1 or -1.
    coeffs[place] = decision.factor ^ (request.words[next] & 0x80000000u);
    next += constants;
    for (var index = 0u; index < instructions; index++) {
        let word = next + 4u * index;
        let operands = vec3<u32>(
            request.words[word + 1u],
            request.words[word + 2u],
            request.words[word + 3u],
        );
        registers[index] = replayed(vec4<u32>(request.words[word], operands), clock);
    }
    next += 4u * instructions;
    let outputs = request.words[program + 2u];
    for (var output = 0u; output < outputs; output++) {
        let word = next + 2u * output;
        coeffs[place + request.words[word]] = wide_to_f32(registers[request.words[word + 1u]]);
    }
    next += 2u * outputs;
    clocks[clock].steps += 1u;
    for (var scalar = 0u; scalar < request.words[program + 3u]; scalar++) {
        clocks[clock].scalars[scalar] = registers[request.words[next + scalar]];
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
    if invocation == 0u {
        decision = decide(sums[0]);
    }
    // Clocks are set before any is read, and the decision is taken.
    storageBarrier();
    workgroupBarrier();
    for (var index = invocation; index < request.entries; index += WORKGROUP_SIZE) {
        fill_entry(index, decision);
    }
}
