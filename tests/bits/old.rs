//! What the program asks of the crate and what may differ between commits, as it was in 0.30.

use wgpu_optim::{Param, wgpu};

/// A parameter and its gradient at these bytes of these buffers.
pub fn placed(name: &str, len: usize, places: [(&wgpu::Buffer, u64); 2]) -> Param {
    let [(param, param_offset), (grad, grad_offset)] = places;
    Param::new(name, len).buffers(param, grad).offsets(param_offset, grad_offset)
}
