// Adam for one tensor, written by hand: a vec4 for each thread, no segments, no groups. The
// baseline for the library's kernel.

struct Coeffs {
    step_size: f32,      // lr / (1 - beta1^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
}

@group(0) @binding(0) var<storage, read> c: Coeffs;
@group(0) @binding(1) var<storage, read_write> params: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> exp_avg: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> exp_avg_sq: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let i = (workgroup.y * grid.x + workgroup.x) * 256u + invocation;
    if i >= arrayLength(&params) {
        return;
    }
    let g = grads[i];
    let m = c.beta1 * exp_avg[i] + c.one_minus_beta1 * g;
    let v = c.beta2 * exp_avg_sq[i] + c.one_minus_beta2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    params[i] = params[i] - c.step_size * (m / (sqrt(v) * c.inv_sqrt_bias2 + c.eps));
}
