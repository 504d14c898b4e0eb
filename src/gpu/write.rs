//! Values on their way to the GPU.

use crate::error::Error;
use crate::gpu::buffers::Part;
use crate::gpu::guard::{check_usage, is_lost, scoped, told};
use crate::layout::formats::WORD_BYTES;
use std::borrow::Cow;

const DURING: &str = "writing values";

/// Writes a parameter's elements, as they are stored, to its parts, before the commands of the next
/// submission.
pub(super) fn write(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    name: &str,
    parts: &[Part<'_>],
    bytes: &[Cow<'_, [u8]>],
) -> Result<(), Error> {
    // Memory for all parts comes first, so that none is written if there is not enough.
    let open = |part: &Part<'_>| {
        let (buffer, offset, size) = part.source();
        queue.write_buffer_with(buffer, offset, wgpu::BufferSize::new(size)?)
    };
    let (written, error) = scoped(device, || {
        let memory: Vec<_> = parts.iter().map(open).collect::<Option<_>>()?;
        for (bytes, mut memory) in bytes.iter().zip(memory) {
            memory.copy_from_slice(bytes);
        }
        Some(())
    });
    match (written, error) {
        (Some(()), None) => Ok(()),
        (None, None) => Err(Error::Lost { during: DURING }),
        (_, Some(error @ wgpu::Error::OutOfMemory { .. })) => Err(told(device, DURING, error)),
        (_, Some(_)) if is_lost(device) => Err(Error::Lost { during: DURING }),
        (_, Some(error)) => Err(Error::parameter(
            name,
            "a buffer that is neither mapped nor destroyed",
            error.to_string().trim_end(),
            "Unmap it before, or give the parameter another by `set_buffers`",
        )),
    }
}

/// Refuses a part that cannot be written by copies.
pub(super) fn check_write(name: &str, part: &Part<'_>) -> Result<(), Error> {
    check_usage(name, part.buffer, wgpu::BufferUsages::COPY_DST)?;
    let [start, end] = part.bytes();
    let is_whole = start.is_multiple_of(WORD_BYTES)
        && (part.span.buffer.is_owned() || end.is_multiple_of(WORD_BYTES));
    if is_whole {
        return Ok(());
    }
    Err(Error::parameter(
        name,
        "an array that starts and ends at a multiple of 4 bytes, to be written by the host",
        format!("one from byte {start} to {end} of its buffer"),
        "Write your buffer by a kernel of yours, or give the tensor an even number of elements at \
         such an offset",
    ))
}
