//! Values on their way to the GPU.

use crate::error::Error;
use crate::gpu::buffers::Part;
use crate::gpu::guard::{is_lost, scoped, told};

const DURING: &str = "writing values";

/// Writes a parameter's elements to its parts, before the commands of the next submission.
pub(super) fn write(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    name: &str,
    parts: &[Part<'_>],
    values: &[f32],
) -> Result<(), Error> {
    // Memory for all parts comes first, so that none is written if there is not enough.
    let open = |part: &Part<'_>| {
        let (buffer, offset, size) = part.source();
        queue.write_buffer_with(buffer, offset, wgpu::BufferSize::new(size)?)
    };
    let (written, error) = scoped(device, || {
        let memory: Vec<_> = parts.iter().map(open).collect::<Option<_>>()?;
        for (part, mut memory) in parts.iter().zip(memory) {
            let range = part.span.first as usize..(part.span.first + part.span.len) as usize;
            memory.copy_from_slice(bytemuck::cast_slice(&values[range]));
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
