// Gradients stay as they are.
fn leave_grads(at: vec4<u32>, live: vec4<bool>) {}

