// A fully connected layer: its forward pass and its gradients. Each thread computes one element of
// the result alone, so that no atomics are needed and runs are reproducible.
//
// Matrices are row-major. The number of rows of a batch follows from the sizes of its tensors.

override INPUTS: u32;
override OUTPUTS: u32;
override RELU: bool;

// Each entry point binds only the tensors that it uses.
@group(0) @binding(0) var<storage, read> input: array<f32>;                  // rows × INPUTS
@group(0) @binding(1) var<storage, read> weight: array<f32>;                 // OUTPUTS × INPUTS
@group(0) @binding(2) var<storage, read> bias: array<f32>;                   // OUTPUTS
@group(0) @binding(3) var<storage, read_write> output: array<f32>;           // rows × OUTPUTS
@group(0) @binding(4) var<storage, read> output_gradient: array<f32>;        // as `output`
@group(0) @binding(5) var<storage, read_write> weight_gradient: array<f32>;  // as `weight`
@group(0) @binding(6) var<storage, read_write> bias_gradient: array<f32>;    // as `bias`
@group(0) @binding(7) var<storage, read_write> input_gradient: array<f32>;   // as `input`

// output = input · weightᵀ + bias, followed by ReLU if the layer has one.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= arrayLength(&output) {
        return;
    }
    let row = thread.x / OUTPUTS;
    let o = thread.x % OUTPUTS;
    var sum = bias[o];
    for (var i = 0u; i < INPUTS; i++) {
        sum += input[row * INPUTS + i] * weight[o * INPUTS + i];
    }
    output[thread.x] = select(sum, max(sum, 0.0), RELU);
}

// weight_gradient = output_gradientᵀ · input. It overwrites the previous batch's gradient, which
// therefore need not be zeroed.
@compute @workgroup_size(64)
fn backward_weight(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= arrayLength(&weight_gradient) {
        return;
    }
    let o = thread.x / INPUTS;
    let i = thread.x % INPUTS;
    let rows = arrayLength(&output_gradient) / OUTPUTS;
    var sum = 0.0;
    for (var row = 0u; row < rows; row++) {
        sum += output_gradient[row * OUTPUTS + o] * input[row * INPUTS + i];
    }
    weight_gradient[thread.x] = sum;
}

// bias_gradient = the sum of the rows of output_gradient.
@compute @workgroup_size(64)
fn backward_bias(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= arrayLength(&bias_gradient) {
        return;
    }
    let rows = arrayLength(&output_gradient) / OUTPUTS;
    var sum = 0.0;
    for (var row = 0u; row < rows; row++) {
        sum += output_gradient[row * OUTPUTS + thread.x];
    }
    bias_gradient[thread.x] = sum;
}

// input_gradient = output_gradient · weight, times the derivative of the ReLU that `input` came
// from.
@compute @workgroup_size(64)
fn backward_input(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= arrayLength(&input_gradient) {
        return;
    }
    let row = thread.x / INPUTS;
    let i = thread.x % INPUTS;
    var sum = 0.0;
    for (var o = 0u; o < OUTPUTS; o++) {
        sum += output_gradient[row * OUTPUTS + o] * weight[o * INPUTS + i];
    }
    input_gradient[thread.x] = select(0.0, sum, input[thread.x] > 0.0);
}
