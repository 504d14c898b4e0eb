// Gradients are zeroed once they are read.
fn leave_grads(at: vec4<u32>, live: vec4<bool>) {
    store_grads(at, live, Real(0.0));
}

