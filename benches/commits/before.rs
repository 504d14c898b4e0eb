// Where a parameter and its gradient are, and moving them, as it was in 0.30.

use lib::{Optimizer, Param, wgpu};

/// A buffer and the byte in it where an array starts.
type Array<'a> = (&'a wgpu::Buffer, u64);

pub fn param(name: String, len: usize, param: Array, grad: Array) -> Param {
    Param::new(name, len).buffers(param.0, grad.0).offsets(param.1, grad.1)
}

/// Two places for all parameters, taken in turns.
pub struct Moves {
    len: usize,
    buffers: [Vec<[wgpu::Buffer; 2]>; 2],
    turn: usize,
}

impl Moves {
    pub fn new(_: &Optimizer, len: usize, buffers: [Vec<[wgpu::Buffer; 2]>; 2]) -> Self {
        Self { len, buffers, turn: 0 }
    }

    pub fn next(&mut self, optimizer: &mut Optimizer) {
        self.turn = 1 - self.turn;
        let place = |(index, [param, grad]): (usize, &[wgpu::Buffer; 2])| {
            Param::new(format!("p{index}"), self.len).buffers(param, grad)
        };
        let all = self.buffers[self.turn].iter().enumerate().map(place);
        optimizer.set_buffers(all).expect("disjoint");
    }
}
