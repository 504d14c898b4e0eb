//! Parameters as callers describe them, and their buffers.

use super::guard::check_usage;
use crate::error::Error;
use crate::layout::Place;
use std::collections::HashMap;

/// A parameter: one named tensor of the model, with its gradient.
///
/// A name and a length make a parameter of the arena, which the optimizer allocates; that is the
/// fastest place. [`Self::buffers`] leaves it where your engine has it.
#[derive(Debug, Clone)]
pub struct Param {
    pub(super) name: String,
    pub(super) len: usize,
    pub(super) buffers: Option<[wgpu::Buffer; 2]>,
    pub(super) offsets: [u64; 2],
}

impl Param {
    /// A parameter of `len` f32 elements. Its name must be unique in the optimizer.
    pub fn new(name: impl Into<String>, len: usize) -> Self {
        Self { name: name.into(), len, buffers: None, offsets: [0, 0] }
    }

    /// Keeps parameter and gradient in buffers of your own, which need the usage `STORAGE`. They may be
    /// one and the same buffer, and hold other things too; nothing outside the parameter's own
    /// elements is written.
    #[must_use]
    pub fn buffers(mut self, param: &wgpu::Buffer, grad: &wgpu::Buffer) -> Self {
        self.buffers = Some([param.clone(), grad.clone()]);
        self
    }

    /// Where parameter and gradient start in their buffers, in bytes: multiples of 4. Multiples of 16
    /// are faster.
    #[must_use]
    pub fn offsets(mut self, param: u64, grad: u64) -> Self {
        self.offsets = [param, grad];
        self
    }
}

impl<N: Into<String>> From<(N, usize)> for Param {
    fn from((name, len): (N, usize)) -> Self {
        Self::new(name, len)
    }
}

impl Param {
    /// Refuses buffers that cannot be used, and offsets without buffers.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.buffers {
            None if self.offsets != [0, 0] => Err(Error::parameter(
                &self.name,
                "buffers of your own where offsets are given",
                format!("offsets {:?} without buffers", self.offsets),
                "Call `buffers` too, or leave the offsets out",
            )),
            None => Ok(()),
            Some(buffers) => buffers.iter().try_for_each(|buffer| {
                check_usage(&self.name, buffer, wgpu::BufferUsages::STORAGE)
            }),
        }
    }
}

/// The callers' buffers, each once, and where each parameter and its gradient lie in them.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub buffers: Vec<wgpu::Buffer>,
    pub sizes: Vec<u64>,
    pub places: Vec<Option<[Place; 2]>>,
}

impl Places {
    #[expect(
        clippy::mutable_key_type,
        reason = "a buffer's identity, which is hashed, never changes"
    )]
    pub fn new<'a>(params: impl IntoIterator<Item = &'a Param>) -> Self {
        let mut places = Self::default();
        let mut known = HashMap::new();
        for param in params {
            let mut index = |buffer: &wgpu::Buffer| {
                *known.entry(buffer.clone()).or_insert_with(|| {
                    places.buffers.push(buffer.clone());
                    places.sizes.push(buffer.size());
                    places.buffers.len() - 1
                })
            };
            let own = param.buffers.as_ref().map(|[p, g]| {
                let [p_offset, g_offset] = param.offsets;
                let place = |buffer, offset| Place { buffer, offset };
                [place(index(p), p_offset), place(index(g), g_offset)]
            });
            places.places.push(own);
        }
        places
    }
}
