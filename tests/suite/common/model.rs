//! A model of many parameters on the GPU, in each of the ways that memory can be laid out.

use super::exact::Arrays;
use super::gpu::Gpu;
use super::random::Random;
use std::ops::Range;
use wgpu_optim::{Builder, DynRule, Error, Optimizer, Param, Statistics, wgpu};

/// Where a model's parameters and gradients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the optimizer's arena.
    Arena,
    /// Each in two buffers of its own, at odd offsets.
    Separate,
    /// All in one buffer, parameters and gradients alike, tightly packed from an odd offset on.
    Pooled,
    /// Parameters in one buffer, gradients in another, at multiples of 16 bytes.
    Aligned,
}

pub const PLACEMENTS: [Placement; 4] =
    [Placement::Arena, Placement::Separate, Placement::Pooled, Placement::Aligned];

/// What is between parameters: a NaN that no computation makes.
pub const CANARY: u32 = 0x7fc0_dead;

/// A range of elements of one of the caller's buffers.
#[derive(Debug, Clone)]
struct Place {
    buffer: usize,
    range: Range<usize>,
}

/// A model and its optimizer, with one group.
pub struct Model {
    pub gpu: &'static Gpu,
    pub optimizer: Optimizer,
    pub lens: Vec<usize>,
    buffers: Vec<wgpu::Buffer>,
    /// Of each parameter and its gradient; empty for the arena.
    places: Vec<[Place; 2]>,
}

/// Steps that a parameter has taken, as the GPU knows them.
pub fn steps_taken(optimizer: &Optimizer, name: &str) -> u64 {
    let index = optimizer.params().position(|param| param.name == name).expect("known");
    optimizer.read_steps().and_then(|r| r.wait()).expect("read")[index]
}

pub fn name(param: usize) -> String {
    format!("p{param}")
}

impl Model {
    pub fn new(
        gpu: &'static Gpu,
        rule: Box<dyn DynRule>,
        lens: &[usize],
        placement: Placement,
    ) -> Result<Self, Error> {
        Self::with(gpu, rule, lens, placement, |builder| builder)
    }

    /// A model whose optimizer does something around its steps.
    pub fn with(
        gpu: &'static Gpu,
        rule: Box<dyn DynRule>,
        lens: &[usize],
        placement: Placement,
        control: impl Fn(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let places = places(placement, lens);
        let buffers = canary_buffers(gpu, &places);
        let param = |(i, &len): (usize, &usize)| {
            let param = Param::new(name(i), len);
            let Some([p, g]) = places.get(i) else { return param };
            let bytes = |place: &Place| 4 * place.range.start as u64;
            param.buffers((&buffers[p.buffer], bytes(p)), (&buffers[g.buffer], bytes(g)))
        };
        let params = lens.iter().enumerate().map(param);
        let builder = control(Optimizer::builder().group(rule, params));
        let optimizer = builder.build(&gpu.device, &gpu.queue)?;
        Ok(Self { gpu, optimizer, lens: lens.to_vec(), buffers, places })
    }

    /// Sets all parameters to numbers of all magnitudes.
    pub fn randomize(&mut self, random: &mut Random, low: f64, high: f64) {
        for (i, &len) in self.lens.iter().enumerate() {
            let values = random.wide_vec(len, low, high);
            self.optimizer.set_param(name(i), &values).expect("set");
        }
    }

    pub fn set_grads(&mut self, grads: &[Vec<f32>]) {
        for (i, grad) in grads.iter().enumerate() {
            self.optimizer.set_grad(name(i), grad).expect("set");
        }
    }

    pub fn step(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).expect("recorded");
        self.gpu.submit(encoder);
    }

    /// What is known of the latest step.
    pub fn statistics(&self) -> Statistics {
        self.optimizer.read_statistics().and_then(|r| r.wait()).expect("read")
    }

    /// The bits of everything that a step may change.
    pub fn bits(&self) -> Vec<Vec<Vec<u32>>> {
        let bits = |array: &Vec<f32>| array.iter().map(|x| x.to_bits()).collect();
        let of = |arrays: Arrays| arrays.0.iter().map(bits).collect();
        self.arrays().into_iter().map(of).collect()
    }

    /// Everything that a step may change, a parameter each.
    pub fn arrays(&self) -> Vec<Arrays> {
        let states = self.optimizer.rule(0).expect("one group").states();
        let arrays = |i: usize| {
            let mut arrays = vec![self.optimizer.read_param(name(i))];
            for state in &states {
                arrays.push(self.optimizer.read_state(name(i), state.name));
            }
            let read = arrays.into_iter().map(|r| r.and_then(|r| r.wait()).expect("read"));
            Arrays(read.collect())
        };
        (0..self.lens.len()).map(arrays).collect()
    }

    /// Panics if anything outside the parameters and gradients changed.
    pub fn check_canaries(&self) {
        for (index, buffer) in self.buffers.iter().enumerate() {
            let mut bits = self.gpu.read(buffer);
            for place in self.places.iter().flatten().filter(|place| place.buffer == index) {
                bits[place.range.clone()].fill(CANARY);
            }
            let written = bits.iter().position(|&bits| bits != CANARY);
            assert_eq!(written, None, "an element of buffer {index} that is nobody's was written");
        }
    }
}

fn places(placement: Placement, lens: &[usize]) -> Vec<[Place; 2]> {
    let mut next = 1;
    let mut place = |(i, &len): (usize, &usize)| {
        let at = |buffer, start| Place { buffer, range: start..start + len };
        match placement {
            Placement::Arena => None,
            Placement::Separate => {
                Some([at(2 * i, 1 + 2 * (i % 4)), at(2 * i + 1, 3 + 2 * (i % 3))])
            }
            Placement::Pooled => {
                let start = next;
                next += 2 * len;
                Some([at(0, start), at(0, start + len)])
            }
            Placement::Aligned => {
                let start = next.next_multiple_of(4);
                next = start + len + 1;
                Some([at(0, start), at(1, start)])
            }
        }
    };
    lens.iter().enumerate().map_while(&mut place).collect()
}

/// The caller's buffers, full of canaries, three of them after the last parameter.
fn canary_buffers(gpu: &Gpu, places: &[[Place; 2]]) -> Vec<wgpu::Buffer> {
    let count = places.iter().flatten().map(|place| place.buffer + 1).max().unwrap_or(0);
    let mut sizes = vec![0; count];
    for Place { buffer, range } in places.iter().flatten() {
        sizes[*buffer] = sizes[*buffer].max(range.end + 3);
    }
    sizes.iter().map(|&size| gpu.buffer(&vec![f32::from_bits(CANARY); size])).collect()
}
