// Where a parameter and its gradient are, and moving them, as it is now.

use lib::{Optimizer, Param, ParamId, Place, wgpu};

/// A buffer and the byte in it where an array starts.
type Array<'a> = (&'a wgpu::Buffer, u64);

pub fn param(name: String, len: usize, param: Array, grad: Array) -> Param {
    Param::new(name, len).buffers(param, grad)
}

/// Two places for all parameters, taken in turns.
pub struct Moves {
    places: [Vec<(ParamId, Place)>; 2],
    turn: usize,
}

impl Moves {
    pub fn new(optimizer: &Optimizer, _: usize, buffers: [Vec<[wgpu::Buffer; 2]>; 2]) -> Self {
        let ids: Vec<_> = optimizer.params().map(|param| param.id).collect();
        let places = buffers.map(|all| {
            let place = |[param, grad]: [wgpu::Buffer; 2]| Place::new((&param, 0), (&grad, 0));
            ids.iter().copied().zip(all.into_iter().map(place)).collect()
        });
        Self { places, turn: 0 }
    }

    pub fn next(&mut self, optimizer: &mut Optimizer) {
        self.turn = 1 - self.turn;
        optimizer.set_buffers(self.places[self.turn].iter().cloned()).expect("disjoint");
    }
}
