// The reference for bandwidth: each thread reads and writes a vec4.

@group(0) @binding(0) var<storage, read> original: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> duplicate: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let i = (workgroup.y * grid.x + workgroup.x) * 256u + invocation;
    if i < arrayLength(&duplicate) {
        duplicate[i] = original[i];
    }
}
