//! Whether a file's arrays are those that were written.

use crate::checkpoint::header::Header;
use crate::checkpoint::input::{Input, PIECE_BYTES};
use crate::error::Error;

/// Compares every array with its CRC-32, if the file has them.
pub(super) fn verify(
    input: &mut Input<'_>,
    header: &Header,
    checksum: Option<usize>,
    mut progress: impl FnMut(u64),
) -> Result<(), Error> {
    let Some(checksum) = checksum else { return Ok(()) };
    let (tensors, own) = (&header.tensors, &header.tensors[checksum]);
    let sums = input.whole(header.range(own))?;
    if checksum + 1 != tensors.len() || sums.len() != 4 * checksum {
        let expected = "a checksum at the file's end, 4 bytes for each array before it";
        return Err(input.refused(expected, format!("one of {} bytes", sums.len())));
    }
    let mut piece = Vec::new();
    for (tensor, sum) in tensors.iter().zip(sums.chunks_exact(4)) {
        let mut crc = crc32fast::Hasher::new();
        let mut at = tensor.bytes.start;
        while at < tensor.bytes.end {
            piece.resize((tensor.bytes.end - at).min(PIECE_BYTES) as usize, 0);
            input.read_at(header.start + at, &mut piece)?;
            crc.update(&piece);
            at += piece.len() as u64;
            progress(header.start + at);
        }
        let found = crc.finalize();
        if found.to_le_bytes() != sum {
            let sum = u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
            let expected = format!("`{}` with the CRC-32 {sum:08x}", tensor.key);
            return Err(input.refused(expected, format!("{found:08x}: the file is damaged")));
        }
    }
    Ok(())
}
