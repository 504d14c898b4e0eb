//! An array on the CPU, in the engine's own type or as its format stores it.

use crate::layout::geometry::BLOCK;
use crate::model::Codec;
use crate::rule::Real;
use ndarray::{Array1, ArrayView1, CowArray, Ix1};
use std::ops::Range;

/// The elements of an array.
#[derive(Debug)]
pub(super) enum Stored<T> {
    /// Numbers of the engine's own type, where f32 is asked for.
    Plain(Array1<T>),
    /// So many elements as a codec stores them.
    Coded(Codec, Vec<u8>, usize),
}

const CONTIGUOUS: &str = "one-dimensional arrays that were made here are contiguous";

impl<T: Real> Stored<T> {
    /// So many elements of one value.
    pub fn new(codec: Codec, len: usize, value: f64) -> Self {
        if codec == Codec::F32 {
            return Self::Plain(Array1::from_elem(len, T::from_f64(value)));
        }
        // As on the GPU, where nobody writes what is 0.
        let mut bytes = vec![0; codec.bytes(len as u64) as usize];
        if value != 0.0 {
            bytes.clear();
            codec.encode(&vec![value as f32; len], &mut bytes);
        }
        Self::Coded(codec, bytes, len)
    }

    /// The elements; a copy if they are not of the engine's own type.
    pub fn values(&self) -> CowArray<'_, T, Ix1> {
        match self {
            Self::Plain(values) => values.view().into(),
            Self::Coded(codec, bytes, len) => {
                let mut values = vec![T::default(); *len];
                View::Coded(*codec, bytes).read(0, &mut values, &mut Memory::default());
                Array1::from(values).into()
            }
        }
    }

    /// Sets all elements.
    pub fn set(&mut self, values: &[T]) {
        match self {
            Self::Plain(own) => own.assign(&ArrayView1::from(values)),
            Self::Coded(codec, bytes, _) => {
                bytes.clear();
                codec.encode(&to_f32(values).collect::<Vec<_>>(), bytes);
            }
        }
    }

    /// Sets all elements as they are stored.
    pub fn set_bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(values) => {
                let mut decoded = Vec::new();
                Codec::F32.decode(bytes, values.len(), &mut decoded);
                for (value, x) in values.iter_mut().zip(decoded) {
                    *value = T::from_f64(x.into());
                }
            }
            Self::Coded(_, own, _) => own.copy_from_slice(bytes),
        }
    }

    /// The elements as they are stored, or, of the engine's own type, as f32.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(values) => {
                let mut bytes = Vec::new();
                let values: Vec<_> = values.iter().map(|x| x.to_f64() as f32).collect();
                Codec::F32.encode(&values, &mut bytes);
                bytes
            }
            Self::Coded(_, bytes, _) => bytes.clone(),
        }
    }

    /// Appends elements, from the start of a block on, as they are stored.
    pub fn get(&self, elements: &Range<u64>, out: &mut Vec<u8>) {
        match self {
            Self::Plain(values) => {
                let values = values.as_slice().expect(CONTIGUOUS);
                let own = elements.start as usize..elements.end as usize;
                out.extend_from_slice(bytemuck::cast_slice(&values[own]));
            }
            Self::Coded(codec, bytes, _) => {
                let own = codec.bytes(elements.start) as usize..codec.bytes(elements.end) as usize;
                out.extend_from_slice(&bytes[own]);
            }
        }
    }

    /// Sets elements, from the start of a block on, as they are stored.
    pub fn put(&mut self, elements: &Range<u64>, bytes: &[u8]) {
        match self {
            Self::Plain(values) => {
                let own = elements.start as usize..elements.end as usize;
                let values = &mut values.as_slice_mut().expect(CONTIGUOUS)[own];
                bytemuck::cast_slice_mut(values).copy_from_slice(bytes);
            }
            Self::Coded(codec, own, _) => {
                let start = codec.bytes(elements.start) as usize;
                own[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// The elements, to read.
    pub fn view(&self) -> View<'_, T> {
        match self {
            Self::Plain(values) => View::Plain(values.as_slice().expect(CONTIGUOUS)),
            Self::Coded(codec, bytes, _) => View::Coded(*codec, bytes),
        }
    }

    /// The same to change.
    pub fn view_mut(&mut self) -> ViewMut<'_, T> {
        match self {
            Self::Plain(values) => ViewMut::Plain(values.as_slice_mut().expect(CONTIGUOUS)),
            Self::Coded(codec, bytes, _) => ViewMut::Coded(*codec, bytes),
        }
    }
}

fn to_f32<T: Real>(values: &[T]) -> impl Iterator<Item = f32> + '_ {
    values.iter().map(|x| x.to_f64() as f32)
}

/// Memory for elements between their stored form and the engine's own type, to be used again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    decoded: Vec<f32>,
    encoded: Vec<u8>,
}

/// Consecutive elements of an array, from the start of a block on.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a, T> {
    Plain(&'a [T]),
    Coded(Codec, &'a [u8]),
}

impl<T: Real> View<'_, T> {
    /// Takes the first so many elements away: whole blocks, or all that there are.
    pub fn take(&mut self, len: usize) -> Self {
        match self {
            Self::Plain(rest) => {
                let (first, others) = rest.split_at(len);
                *rest = others;
                Self::Plain(first)
            }
            Self::Coded(codec, rest) => {
                let (first, others) = rest.split_at(codec.bytes(len as u64) as usize);
                *rest = others;
                Self::Coded(*codec, first)
            }
        }
    }

    /// Copies the elements from this one on, the first of a block.
    pub fn read(self, first: usize, values: &mut [T], memory: &mut Memory) {
        match self {
            Self::Plain(own) => values.copy_from_slice(&own[first..first + values.len()]),
            Self::Coded(codec, bytes) => {
                let decoded = &mut memory.decoded;
                decoded.clear();
                codec.decode(&bytes[start(codec, first)..], values.len(), decoded);
                for (value, &x) in values.iter_mut().zip(&*decoded) {
                    *value = T::from_f64(f64::from(x));
                }
            }
        }
    }
}

/// The same to change.
#[derive(Debug)]
pub(super) enum ViewMut<'a, T> {
    Plain(&'a mut [T]),
    Coded(Codec, &'a mut [u8]),
}

impl<T: Real> ViewMut<'_, T> {
    /// Takes the first so many elements away: whole blocks, or all that there are.
    pub fn take(&mut self, len: usize) -> Self {
        match self {
            Self::Plain(rest) => {
                let (first, others) = std::mem::take(rest).split_at_mut(len);
                *rest = others;
                Self::Plain(first)
            }
            Self::Coded(codec, rest) => {
                let size = codec.bytes(len as u64) as usize;
                let (first, others) = std::mem::take(rest).split_at_mut(size);
                *rest = others;
                Self::Coded(*codec, first)
            }
        }
    }

    pub fn view(&self) -> View<'_, T> {
        match self {
            Self::Plain(values) => View::Plain(values),
            Self::Coded(codec, bytes) => View::Coded(*codec, bytes),
        }
    }

    /// Changes the elements from this one on, the first of a block.
    pub fn write(&mut self, first: usize, values: &[T], memory: &mut Memory) {
        match self {
            Self::Plain(own) => own[first..first + values.len()].copy_from_slice(values),
            Self::Coded(codec, bytes) => {
                let Memory { decoded, encoded } = memory;
                decoded.clear();
                decoded.extend(to_f32(values));
                encoded.clear();
                codec.encode(decoded, encoded);
                let start = start(*codec, first);
                bytes[start..start + encoded.len()].copy_from_slice(encoded);
            }
        }
    }
}

/// The byte where an element starts, the first of a block.
fn start(codec: Codec, first: usize) -> usize {
    debug_assert!(first.is_multiple_of(BLOCK as usize), "{first} starts no block");
    codec.bytes(first as u64) as usize
}
