//! The tables of blocks. The host knows pieces, of which there are as many as parameters, and a model has a block for
//! every 256 elements: the host writes the tables of small models, and the GPU those of large ones.

use super::coefficients::Bound;
use super::kernel::{Compiler, Key};
use super::tables::{Tables, create, packed, written};
use crate::error::Error;
use crate::format::{BLOCK, LIVE_BITS};
use crate::plan::{Dispatch, Limits};
use crate::reduction::Reduction;
use crate::shader::WORKGROUP_SIZE;

/// Bytes of a row: where a block's elements are, and how many.
const ROW_BYTES: u64 = 16;

/// Bytes of a block's place among the partial sums, and its tensor's index.
const TENSOR_BYTES: u64 = 8;

/// The most rows that the host writes: 4 Mi elements' in whole blocks. Writing more takes it longer than to have them
/// written.
const MOST_BY_HOST: u64 = 1 << 14;

/// Elements of a block, as pieces count them.
const BLOCK_LEN: u32 = BLOCK as u32;

const ROWS: &str = "wgpu-optim blocks";
const TENSORS: &str = "wgpu-optim blocks' tensors";

/// The tables of all dispatches, in as few buffers as a binding allows.
pub(super) struct Blocks {
    shards: Vec<Shard>,
    /// Of each dispatch the shard, the first row and the number of rows.
    places: Vec<(usize, u64, u64)>,
}

struct Shard {
    rows: wgpu::Buffer,
    /// Where something is summed up for each block.
    tensors: Option<wgpu::Buffer>,
}

impl Blocks {
    /// Makes the tables. To be called within an error scope.
    pub fn new(
        compiler: &mut Compiler,
        queue: &wgpu::Queue,
        limits: &Limits,
        dispatches: &[Dispatch],
        reduction: Option<&Reduction>,
    ) -> Result<Self, Error> {
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / ROW_BYTES;
        // In rows, such that both tables of a dispatch start where a binding may.
        let alignment = limits.min_storage_buffer_offset_alignment.div_ceil(TENSOR_BYTES);
        let (places, sizes) = packed(dispatches.iter().map(Dispatch::blocks), alignment, most);
        let mut pieces = vec![Vec::new(); sizes.len()];
        let sums = |piece: &_| reduction.map_or([0, 0], |reduction| reduction.of_piece(piece));
        for (dispatch, &(shard, first, _)) in dispatches.iter().zip(&places) {
            pieces[shard].extend(dispatch.piece_words(first as u32, sums));
        }
        let sums = reduction.is_some();
        let shards = if sizes.iter().sum::<u64>() <= MOST_BY_HOST {
            by_host(&compiler.device, &pieces, &sizes, sums)
        } else {
            by_gpu(compiler, queue, limits, &pieces, &sizes, sums)?
        };
        Ok(Self { shards, places })
    }

    /// The rows of a dispatch's blocks.
    pub fn rows(&self, dispatch: usize) -> wgpu::BufferBinding<'_> {
        let (shard, first, count) = self.places[dispatch];
        binding(&self.shards[shard].rows, first, count, ROW_BYTES)
    }

    /// The tensors of a dispatch's blocks, if something is summed up for them.
    pub fn tensors(&self, dispatch: usize) -> Option<wgpu::BufferBinding<'_>> {
        let (shard, first, count) = self.places[dispatch];
        let tensors = self.shards[shard].tensors.as_ref()?;
        Some(binding(tensors, first, count, TENSOR_BYTES))
    }
}

/// The tables that these pieces have, written by the host.
fn by_host(
    device: &wgpu::Device,
    pieces: &[Vec<[u32; 8]>],
    sizes: &[u64],
    sums: bool,
) -> Vec<Shard> {
    let shard = |(pieces, &count): (&Vec<_>, &u64)| Shard {
        rows: written(device, ROWS, &by_block(pieces, count, row)),
        tensors: sums.then(|| written(device, TENSORS, &by_block(pieces, count, tensor))),
    };
    pieces.iter().zip(sizes).map(shard).collect()
}

/// Something of each block of these pieces, at its row. Rows between one dispatch's and the next's have no elements, and
/// nobody reads them.
fn by_block<T: Copy + Default>(
    pieces: &[[u32; 8]],
    count: u64,
    of: impl Fn(&[u32; 8], u32) -> T,
) -> Vec<T> {
    let mut table = vec![T::default(); count as usize];
    for piece in pieces {
        let &[row, len, ..] = piece;
        for block in 0..len.div_ceil(BLOCK_LEN) {
            table[(row + block) as usize] = of(piece, block);
        }
    }
    table
}

/// A block's row, as `shaders/driver/rows.wgsl` writes it.
fn row(&[_, len, params, grads, states, entry, ..]: &[u32; 8], block: u32) -> [u32; 4] {
    let first = block * BLOCK_LEN;
    let live = (len - first).min(BLOCK_LEN);
    [params + first, grads + first, states + first, (entry << LIVE_BITS) + live]
}

/// The place of a block's first partial sum, and its tensor, as `shaders/driver/rows.wgsl` gives them.
fn tensor(&[.., partial, tensor]: &[u32; 8], block: u32) -> [u32; 2] {
    [partial + block, tensor]
}

/// The tables that these pieces have, written by the GPU, in a submission of its own: whatever the caller does with the
/// commands of a step, the next one finds them.
fn by_gpu(
    compiler: &mut Compiler,
    queue: &wgpu::Queue,
    limits: &Limits,
    pieces: &[Vec<[u32; 8]>],
    sizes: &[u64],
    sums: bool,
) -> Result<Vec<Shard>, Error> {
    let nearest: Vec<_> = pieces.iter().zip(sizes).map(nearest).collect();
    let pieces = Tables::new(&compiler.device, pieces);
    let nearest = Tables::new(&compiler.device, &nearest);
    let table = |label, size| create(&compiler.device, label, size, false);
    let shard = |&rows: &u64| Shard {
        rows: table(ROWS, rows * ROW_BYTES),
        tensors: sums.then(|| table(TENSORS, rows * TENSOR_BYTES)),
    };
    let shards: Vec<_> = sizes.iter().map(shard).collect();

    let mut encoder = compiler.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for (index, (shard, rows)) in shards.iter().zip(sizes).enumerate() {
        let buffers = [Some(&shard.rows), shard.tensors.as_ref()];
        let buffers = buffers.into_iter().flatten().map(wgpu::Buffer::as_entire_buffer_binding);
        let bindings = [pieces.binding(index), nearest.binding(index)].into_iter().chain(buffers);
        let grid = limits.grid(rows.div_ceil(WORKGROUP_SIZE));
        let key = Key::Rows { sums };
        compiler.ready(key, None, bindings, Bound::Nothing, grid)?.record_alone(&mut pass);
    }
    drop(pass);
    queue.submit([encoder.finish()]);
    Ok(shards)
}

/// For each workgroup that writes rows the index of the last piece that starts at its first row or before; then
/// the index of the last of all.
fn nearest((pieces, &rows): (&Vec<[u32; 8]>, &u64)) -> Vec<u32> {
    let mut index = 0;
    let first_rows = (0..rows).step_by(WORKGROUP_SIZE as usize);
    let of_row = |row| {
        while pieces.get(index + 1).is_some_and(|next| u64::from(next[0]) <= row) {
            index += 1;
        }
        index as u32
    };
    let mut nearest: Vec<_> = first_rows.map(of_row).collect();
    nearest.push(pieces.len().saturating_sub(1) as u32);
    nearest
}

fn binding(buffer: &wgpu::Buffer, first: u64, count: u64, bytes: u64) -> wgpu::BufferBinding<'_> {
    let size = wgpu::BufferSize::new(count * bytes);
    wgpu::BufferBinding { buffer, offset: first * bytes, size }
}
