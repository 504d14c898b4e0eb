// Adam with options: variant.rs replaces the names that begin with a dollar sign, and appends the
// updates.

alias Real = $REAL;
$WORDSconst WORKGROUP = $WORKGROUPu;

struct Coeffs {
    step_size: f32,      // lr / (1 - beta1^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
}

@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> params: array<Word>;
@group(0) @binding(2) var<storage, $GRADS> grads: array<Word>;
@group(0) @binding(3) var<storage, read_write> exp_avg: array<Word>;
@group(0) @binding(4) var<storage, read_write> exp_avg_sq: array<Word>;
$COEFFS coeffs: Coeffs;

fn place(i: u32) -> vec3<u32> {
$PLACE}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let last = arrayLength(&params) - 1u;
    let first = $WORKGROUP_INDEX * (WORKGROUP * $PER_THREADu) + invocation;
