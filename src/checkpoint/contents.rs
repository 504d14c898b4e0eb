//! Which arrays a file gets, in which order.

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::header::{Header, Tensor};
use crate::checkpoint::keys;
use crate::layout::geometry::BLOCK;
use crate::model::Model;
use crate::optimizer::{Array, Engine};
use crate::optimizer::{ArrayRange, Head};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// An array that is written.
#[derive(Debug)]
pub(super) struct Content {
    key: String,
    dtype: Dtype,
    shape: Vec<u64>,
    pub data: Data,
}

/// Where its bytes come from.
#[derive(Debug)]
pub(super) enum Data {
    /// A number that is known.
    Known(Vec<u8>),
    /// A parameter's array, or a part of each of its blocks.
    Array { param: usize, array: Array, part: Part },
}

/// What is taken of an array as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// The codes of blocks, without the last one's padding.
    Codes,
    /// The scales of blocks.
    Scales,
}

/// The greatest count that an f32 holds with all before it.
const MOST_F32_STEPS: u64 = 1 << 24;

/// What is written of every parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub params: bool,
    pub grads: bool,
}

impl Content {
    fn known(key: String, dtype: Dtype, bytes: impl Into<Vec<u8>>) -> Self {
        Self { key, dtype, shape: Vec::new(), data: Data::Known(bytes.into()) }
    }

    fn bytes(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.dtype.size()
    }
}

/// All arrays of a file but the checksum, in its order: those with the largest elements first, so
/// that all are aligned.
pub(super) fn contents<E: Engine>(model: &Model, head: &Head, wanted: Wanted) -> Vec<Content> {
    let of_param = |param| of_param::<E>(model, head, wanted, param);
    let mut contents: Vec<_> = (0..model.params.len()).flat_map(of_param).collect();
    contents.sort_by_key(|content| Reverse(content.dtype.size()));
    contents
}

fn of_param<E: Engine>(model: &Model, head: &Head, wanted: Wanted, param: usize) -> Vec<Content> {
    let (name, rule) = (model.name(param), model.rule_of(param));
    let (steps, scalars) = &head.counts[param];
    let mut contents = vec![match u32::try_from(*steps) {
        Ok(steps) if u64::from(steps) <= MOST_F32_STEPS => {
            Content::known(keys::state(name, keys::STEP), Dtype::F32, (steps as f32).to_le_bytes())
        }
        _ => Content::known(keys::state(name, keys::STEP), Dtype::I64, steps.to_le_bytes()),
    }];
    for (scalar, value) in rule.scalars().iter().zip(scalars) {
        contents.push(Content::known(
            keys::state(name, scalar.name),
            Dtype::F64,
            value.to_le_bytes(),
        ));
    }
    let array = |key: String, array| of_array::<E>(model, param, key, array);
    if wanted.params {
        contents.extend(array(keys::param(name), Array::Param));
    }
    if wanted.grads {
        contents.extend(array(keys::grad(name), Array::Grad));
    }
    for (index, (state, _)) in model.params[param].formats.arrays(rule).iter().enumerate() {
        contents.extend(array(keys::state(name, state.name), Array::State(index)));
    }
    contents
}

fn of_array<E: Engine>(model: &Model, param: usize, key: String, array: Array) -> Vec<Content> {
    let codec = array.codec(model, param);
    let shape = model.params[param].shape.sizes().iter().map(|&size| size as u64).collect();
    let data = |part| Data::Array { param, array, part };
    let dtype = Dtype::of::<E>(codec);
    if !codec.in_blocks() {
        return vec![Content { key, dtype, shape, data: data(Part::All) }];
    }
    let blocks = (model.params[param].len as u64).div_ceil(BLOCK);
    vec![
        Content {
            key: keys::absmax(&key),
            dtype: Dtype::F32,
            shape: vec![blocks],
            data: data(Part::Scales),
        },
        Content { key, dtype, shape, data: data(Part::Codes) },
    ]
}

/// The header of a file with these arrays and their checksum.
pub(super) fn header(contents: &[Content], metadata: BTreeMap<String, String>) -> Header {
    let mut at = 0;
    let mut tensor = |key: &str, dtype: Dtype, shape: Vec<u64>, bytes: u64| {
        let bytes = at..at + bytes;
        at = bytes.end;
        Tensor { key: key.into(), dtype, shape, bytes }
    };
    let mut tensors: Vec<_> = contents
        .iter()
        .map(|content| tensor(&content.key, content.dtype, content.shape.clone(), content.bytes()))
        .collect();
    let sums = contents.len() as u64;
    let shape = vec![sums, keys::CHECKSUM_BYTES];
    tensors.push(tensor(keys::CHECKSUM, Dtype::U8, shape, sums * keys::CHECKSUM_BYTES));
    Header { tensors, metadata, start: 0 }
}

/// Something that is written at once: all of a known number, or a range of an array.
#[derive(Debug)]
pub(super) struct Piece {
    /// The index of the array among the contents.
    pub content: usize,
    /// What is fetched for it, and how many bytes that is.
    pub range: Option<(ArrayRange, u64)>,
    /// Whether it is the array's last.
    pub is_last: bool,
}

/// The pieces of all arrays, each of at most about so many bytes, in order.
pub(super) fn pieces<E: Engine>(model: &Model, contents: &[Content], most: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, content) in contents.iter().enumerate() {
        let Data::Array { param, array, .. } = content.data else {
            pieces.push(Piece { content: index, range: None, is_last: true });
            continue;
        };
        let len = model.params[param].len as u64;
        pieces.extend(ArrayRange::all::<E>(model, (param, array), most).map(|range| {
            let is_last = range.elements.end == len;
            let bytes = range.bytes::<E>(model);
            Piece { content: index, range: Some((range, bytes)), is_last }
        }));
    }
    pieces
}

/// Appends what of a piece's bytes goes to the file.
pub(super) fn take(part: Part, range: &ArrayRange, stored: &[u8], out: &mut Vec<u8>) {
    let elements = (range.elements.end - range.elements.start) as usize;
    let block = BLOCK as usize + SCALE_BYTES;
    let blocks = stored.chunks_exact(block);
    match part {
        Part::All => out.extend_from_slice(stored),
        Part::Scales => blocks.for_each(|block| out.extend_from_slice(&block[..SCALE_BYTES])),
        Part::Codes => {
            let start = out.len();
            blocks.for_each(|block| out.extend_from_slice(&block[SCALE_BYTES..]));
            // The last block's padding stays behind.
            out.truncate(start + elements);
        }
    }
}

/// Bytes of a block's scale, which comes before its codes.
pub(super) const SCALE_BYTES: usize = 4;
