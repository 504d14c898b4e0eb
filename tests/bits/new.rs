//! What the program asks of the crate and what may differ between commits, as it is now.

use wgpu_optim::{Param, wgpu};

/// A parameter and its gradient at these bytes of these buffers.
pub fn placed(name: &str, len: usize, places: [(&wgpu::Buffer, u64); 2]) -> Param {
    let [param, grad] = places;
    Param::new(name, len).buffers(param, grad)
}
