// The gradients of the functions, computed from the optimizer's parameter into its gradient buffer.
// Each thread computes one start.

struct Arrival {
    steps: u32,  // before the start came near the minimum, or so far
    near: u32,   // 1 once it has come near
}

override MINIMUM_X: f32;
override MINIMUM_Y: f32;
override NEAR: f32;

@group(0) @binding(0) var<storage, read> position: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> gradient: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> arrivals: array<Arrival>;

@compute @workgroup_size(64)
fn rosenbrock(@builtin(global_invocation_id) thread: vec3<u32>) {
    let start = thread.x;
    if start >= arrayLength(&arrivals) {
        return;
    }
    note_arrival(start);
    let x = position[start].x;
    let off_valley = position[start].y - x * x;
    gradient[start] = vec2(-2.0 * (1.0 - x) - 400.0 * x * off_valley, 200.0 * off_valley);
}

@compute @workgroup_size(64)
fn beale(@builtin(global_invocation_id) thread: vec3<u32>) {
    let start = thread.x;
    if start >= arrayLength(&arrivals) {
        return;
    }
    note_arrival(start);
    let x = position[start].x;
    let y = position[start].y;
    let a = 1.5 - x + x * y;
    let b = 2.25 - x + x * y * y;
    let c = 2.625 - x + x * y * y * y;
    gradient[start] = vec2(
        2.0 * (a * (y - 1.0) + b * (y * y - 1.0) + c * (y * y * y - 1.0)),
        2.0 * x * (a + 2.0 * b * y + 3.0 * c * y * y),
    );
}

// Counted on the GPU, so that the host need not read all positions after every step.
fn note_arrival(start: u32) {
    if arrivals[start].near == 1 {
        return;
    }
    if distance(position[start], vec2(MINIMUM_X, MINIMUM_Y)) < NEAR {
        arrivals[start].near = 1;
    } else {
        arrivals[start].steps += 1;
    }
}
