//! Parameters and gradients in buffers of the test's own, in every way that the crate tells apart.

use crate::common::exact::Arrays;
use crate::gpu::Gpu;
use wgpu_optim::{Optimizer, Param, wgpu};

/// What is between arrays: a NaN that no computation makes.
const CANARY: u32 = 0x7fc0_dead;

/// An array: the index of its buffer, its first word there, and its number of elements.
type Array = (usize, usize, usize);

/// Parameters with their gradients.
#[rustfmt::skip]
const PLACES: [[Array; 2]; 10] = [
    // In a buffer each, from its start on or not, of whole vec4 or not.
    [(0, 0, 1024), (1, 0, 1024)],
    [(2, 1, 255), (3, 3, 255)],
    [(2, 257, 1), (3, 300, 1)],
    // In one buffer, one right after the other.
    [(4, 1, 3), (4, 4, 3)],
    [(4, 7, 257), (4, 264, 257)],
    [(4, 521, 1021), (4, 1542, 1021)],
    // The same, of whole vec4.
    [(5, 0, 256), (5, 256, 256)],
    [(5, 512, 516), (5, 1028, 516)],
    // In one buffer, far apart.
    [(6, 0, 300), (6, 4096, 300)],
    [(6, 300, 5), (6, 4400, 5)],
];

/// How many elements they have.
pub fn lens() -> Vec<usize> {
    PLACES.iter().map(|[(.., len), _]| *len).collect()
}

/// Buffers full of canaries.
pub struct Buffers(Vec<wgpu::Buffer>);

impl Buffers {
    pub fn new(gpu: &Gpu) -> Self {
        let end = |index: usize| {
            let of = PLACES.iter().flatten().filter(|(buffer, ..)| *buffer == index);
            of.map(|(_, start, len)| start + len).max()
        };
        let buffer = |end: usize| gpu.buffer(&vec![CANARY; end + 3]);
        Self((0..).map_while(end).map(buffer).collect())
    }

    /// The parameters.
    pub fn params(&self) -> Vec<Param> {
        let slice = |(buffer, start, _): Array| (&self.0[buffer], 4 * start as u64);
        let param = |(index, &[param, grad]): (usize, &[Array; 2])| {
            Param::new(name(index), param.2).buffers(slice(param), slice(grad))
        };
        PLACES.iter().enumerate().map(param).collect()
    }

    /// Panics if anything outside the arrays was written.
    pub async fn check(&self, gpu: &Gpu) {
        for (index, buffer) in self.0.iter().enumerate() {
            let mut words = gpu.read(buffer).await;
            for (_, start, len) in PLACES.iter().flatten().filter(|array| array.0 == index) {
                words[*start..start + len].fill(CANARY);
            }
            let written = words.iter().position(|&word| word != CANARY);
            assert_eq!(written, None, "a word of buffer {index} that is nobody's was written");
        }
    }
}

/// A parameter's name.
pub fn name(index: usize) -> String {
    format!("p{index}")
}

/// Everything that a step may change, a parameter each.
pub async fn read(optimizer: &Optimizer) -> Vec<Arrays> {
    let ids = || optimizer.params().map(|param| param.id);
    let read = optimizer.read_params(ids()).expect("copied").await.expect("read");
    let mut arrays: Vec<_> = read.into_iter().map(|param| Arrays(vec![param])).collect();
    for state in optimizer.rule(0).expect("one group").states() {
        let read = optimizer.read_states(ids(), state.name).expect("copied").await.expect("read");
        arrays.iter_mut().zip(read).for_each(|(arrays, state)| arrays.0.push(state));
    }
    arrays
}
