//! A model of one group at any byte of the caller's buffers, which are full of canaries.

use crate::common::gpu::Gpu;
use wgpu_optim::internals::Formats;
use wgpu_optim::{Builder, CpuOptimizer, DynRule, Optimizer, Param, Storage, wgpu};

/// Where parameters and gradients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    Arena,
    /// At multiples of 16 bytes.
    Aligned,
    /// At multiples of 4 bytes, without gaps beyond that.
    Words,
    /// At any byte that the formats allow, one after the other, parameters and gradients alike.
    Packed,
}

pub const PLACEMENTS: [Placement; 4] =
    [Placement::Arena, Placement::Aligned, Placement::Words, Placement::Packed];

/// A byte that is nobody's.
const CANARY: u8 = 0xa5;

pub struct Model {
    gpu: &'static Gpu,
    pub optimizer: Optimizer,
    formats: Formats,
    lens: Vec<usize>,
    buffer: Option<wgpu::Buffer>,
    /// The bytes where each parameter and gradient starts.
    starts: Vec<[u64; 2]>,
}

pub fn name(param: usize) -> String {
    format!("p{param}")
}

/// The optimizer on the CPU.
pub fn twin(rule: &dyn DynRule, storage: &Storage, lens: &[usize]) -> CpuOptimizer<f32> {
    let params = lens.iter().enumerate().map(|(i, &len)| (name(i), len));
    let builder = CpuOptimizer::builder().group(rule.boxed(), params);
    builder.storage("*", storage.clone()).build().expect("built")
}

/// A device with bindings enough for four states, or three and a sum, and what is kept beside
/// parameters: by default devices have one less.
pub fn device_for(rule: &dyn DynRule) -> &'static Gpu {
    match rule.name() {
        "adan" | "mars" => Gpu::adapter_limits(),
        _ => Gpu::default(),
    }
}

impl Model {
    pub fn new(
        gpu: &'static Gpu,
        rule: &dyn DynRule,
        storage: &Storage,
        lens: &[usize],
        placement: Placement,
        control: impl Fn(Builder) -> Builder,
    ) -> Self {
        let formats = Formats::of(storage, rule);
        let starts = starts(&formats, lens, placement);
        let size = starts.iter().zip(lens).map(|([_, grad], &len)| grad + 4 * len as u64).max();
        let buffer = size.filter(|_| placement != Placement::Arena).map(|size| {
            let words = vec![u32::from_ne_bytes([CANARY; 4]); size as usize / 4 + 8];
            gpu.buffer(&words.iter().map(|&word| f32::from_bits(word)).collect::<Vec<_>>())
        });
        let param = |(i, &len): (usize, &usize)| {
            let param = Param::new(name(i), len);
            match &buffer {
                Some(buffer) => param.buffers((buffer, starts[i][0]), (buffer, starts[i][1])),
                None => param,
            }
        };
        let params: Vec<_> = lens.iter().enumerate().map(param).collect();
        let builder = Optimizer::builder().group(rule.boxed(), params);
        let builder = control(builder.storage("*", storage.clone()));
        let optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        Self { gpu, optimizer, formats, lens: lens.to_vec(), buffer, starts }
    }

    /// Sets one kind of array (0 parameters, 1 gradients) of all parameters: by the optimizer in
    /// the arena, by a copy of the whole buffer otherwise, since a copy cannot write half a word.
    pub fn set(&mut self, array: usize, values: &[Vec<f32>]) {
        let Some(buffer) = self.buffer.clone() else {
            for (i, values) in values.iter().enumerate() {
                match array {
                    0 => self.optimizer.set_param(name(i), values).expect("set"),
                    _ => self.optimizer.set_grad(name(i), values).expect("set"),
                }
            }
            return;
        };
        let mut bytes = self.bytes(&buffer);
        for (i, values) in values.iter().enumerate() {
            let mut encoded = Vec::new();
            let codec = if array == 0 { self.formats.param } else { self.formats.grad };
            codec.encode(values, &mut encoded);
            let start = self.starts[i][array] as usize;
            bytes[start..start + encoded.len()].copy_from_slice(&encoded);
        }
        self.gpu.queue.write_buffer(&buffer, 0, &bytes);
    }

    fn bytes(&self, buffer: &wgpu::Buffer) -> Vec<u8> {
        bytemuck::pod_collect_to_vec(&self.gpu.read(buffer))
    }

    pub fn step(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).expect("recorded");
        self.gpu.submit(encoder);
    }

    /// A step in these parts, each a list of parameters, in one pass or each in its own.
    pub fn step_in_parts(&mut self, parts: &[Vec<usize>], in_one_pass: bool) {
        let mut encoder = self.gpu.encoder();
        let mut step = self.optimizer.begin_step().expect("begun");
        if in_one_pass {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for part in parts {
                let names = part.iter().copied().map(name);
                step.params_in_pass(&mut pass, names).expect("recorded");
            }
        } else {
            for part in parts {
                step.params(&mut encoder, part.iter().copied().map(name)).expect("recorded");
            }
        }
        step.end().expect("complete");
        drop(step);
        self.gpu.submit(encoder);
    }

    /// A parameter's elements.
    pub fn param(&self, param: usize) -> Vec<f32> {
        self.optimizer.read_param(name(param)).and_then(|read| read.wait()).expect("read")
    }

    /// A state as it is stored.
    pub fn state(&self, param: usize, state: &str) -> Vec<u8> {
        let read = self.optimizer.read_state_bytes(name(param), state);
        read.and_then(|read| read.wait()).expect("read")
    }

    /// Everything that a step may change, by its bits.
    pub fn bits(&self, states: &[&str]) -> Vec<(Vec<u32>, Vec<Vec<u8>>)> {
        let of = |param| {
            let bits = self.param(param).iter().map(|x| x.to_bits()).collect();
            (bits, states.iter().map(|state| self.state(param, state)).collect())
        };
        (0..self.lens.len()).map(of).collect()
    }

    /// Panics if a byte outside parameters and gradients changed.
    pub fn check_canaries(&self) {
        let Some(buffer) = &self.buffer else { return };
        let mut bytes = self.bytes(buffer);
        for ([param, grad], &len) in self.starts.iter().zip(&self.lens) {
            let Formats { param: of_param, grad: of_grad, .. } = self.formats;
            for (start, codec) in [(*param, of_param), (*grad, of_grad)] {
                let start = start as usize;
                bytes[start..start + codec.bytes(len as u64) as usize].fill(CANARY);
            }
        }
        let written = bytes.iter().position(|&byte| byte != CANARY);
        assert_eq!(written, None, "a byte that is nobody's was written");
    }
}

/// Where parameters and gradients start, in one buffer.
fn starts(formats: &Formats, lens: &[usize], placement: Placement) -> Vec<[u64; 2]> {
    let mut next = 2;
    let of_param = |&len: &usize| {
        [formats.param, formats.grad].map(|codec| {
            let alignment = match placement {
                Placement::Arena | Placement::Aligned => 16,
                Placement::Words => 4,
                Placement::Packed => codec.bytes(1),
            };
            let start = u64::next_multiple_of(next, alignment);
            next = start + codec.bytes(len as u64);
            start
        })
    };
    lens.iter().map(of_param).collect()
}
