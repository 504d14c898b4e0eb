// Softmax and cross-entropy: the loss, its gradient and whether the prediction is correct. Each
// thread computes one row, that is one image.

override CLASSES: u32;

struct Score {
    loss: f32,
    correct: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;                 // rows × CLASSES
@group(0) @binding(1) var<storage, read> labels: array<u32>;                 // rows
@group(0) @binding(2) var<storage, read_write> logits_gradient: array<f32>;  // as `logits`
@group(0) @binding(3) var<storage, read_write> scores: array<Score>;         // rows

@compute @workgroup_size(64)
fn cross_entropy(@builtin(global_invocation_id) thread: vec3<u32>) {
    let row = thread.x;
    let rows = arrayLength(&labels);
    if row >= rows {
        return;
    }
    let first = row * CLASSES;
    let label = labels[row];

    var predicted = 0u;
    for (var k = 1u; k < CLASSES; k++) {
        if logits[first + k] > logits[first + predicted] {
            predicted = k;
        }
    }
    // Subtracting the largest logit changes no probability, and keeps `exp` finite.
    let largest = logits[first + predicted];
    var sum = 0.0;
    for (var k = 0u; k < CLASSES; k++) {
        sum += exp(logits[first + k] - largest);
    }

    // The gradient of the batch's mean loss.
    for (var k = 0u; k < CLASSES; k++) {
        let probability = exp(logits[first + k] - largest) / sum;
        let expected = f32(k == label);
        logits_gradient[first + k] = (probability - expected) / f32(rows);
    }
    // Scores are summed over batches, so that the host reads them only once per epoch.
    scores[row].loss += log(sum) + largest - logits[first + label];
    scores[row].correct += f32(predicted == label);
}
