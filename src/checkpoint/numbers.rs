//! Numbers as files store them.

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::header::Tensor;
use crate::layout::formats::half;
use crate::layout::geometry::BLOCK;
use crate::model::Code;

/// Little-endian numbers of a type that is read, widened.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    macro_rules! each {
        ($type:ty, $of:expr) => {
            bytes
                .chunks_exact(size_of::<$type>())
                .map(|own| {
                    let mut number = [0; size_of::<$type>()];
                    number.copy_from_slice(own);
                    $of(<$type>::from_le_bytes(number))
                })
                .collect()
        };
    }
    match dtype {
        Dtype::F64 => each!(f64, |x| x),
        Dtype::F32 => each!(f32, f64::from),
        Dtype::F16 => each!(u16, |x| f64::from(half::from_f16(x))),
        Dtype::Bf16 => each!(u16, |x| f64::from(half::from_bf16(x))),
        Dtype::I64 => each!(i64, |x| x as f64),
        Dtype::U64 => each!(u64, |x| x as f64),
        Dtype::I32 => each!(i32, f64::from),
        Dtype::U32 => each!(u32, f64::from),
        Dtype::I16 => each!(i16, f64::from),
        Dtype::U16 => each!(u16, f64::from),
        Dtype::I8 => each!(i8, f64::from),
        Dtype::U8 | Dtype::Bool => each!(u8, f64::from),
        // No array of these is read.
        Dtype::F8E4M3 | Dtype::F8E5M2 => Vec::new(),
    }
}

/// Elements of 8 bits with their blocks' scales.
pub(super) fn decode_blocks(code: Code, codes: &[u8], scales: &[u8]) -> Vec<f64> {
    let scales = decode(Dtype::F32, scales);
    let blocks = codes.chunks(BLOCK as usize).zip(scales);
    let block = |(codes, scale): (&[u8], f64)| {
        let element = |&byte: &u8| f64::from(code.decode(byte, scale as f32));
        codes.iter().map(element).collect::<Vec<_>>()
    };
    blocks.flat_map(block).collect()
}

/// Blocks as an engine stores them: each scale before its codes, the last block padded.
pub(super) fn join_blocks(codes: &[u8], scales: &[u8], bytes: usize) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes);
    for (codes, scale) in codes.chunks(BLOCK as usize).zip(scales.chunks_exact(4)) {
        joined.extend_from_slice(scale);
        joined.extend_from_slice(codes);
    }
    joined.resize(bytes, 0);
    joined
}

/// A count of steps: a whole number from 0 on, whatever its type.
pub(super) fn steps(tensor: &Tensor, bytes: &[u8]) -> Option<u64> {
    let is_number = matches!(
        tensor.dtype,
        Dtype::F32 | Dtype::F64 | Dtype::I32 | Dtype::I64 | Dtype::U32 | Dtype::U64
    );
    let number = *decode(tensor.dtype, bytes).first().filter(|_| is_number)?;
    (number >= 0.0 && number.fract() == 0.0 && number <= u64::MAX as f64).then_some(number as u64)
}

/// The elements of a matrix of so many rows and columns, column after column.
pub(super) fn transpose<T: Copy>(values: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}
