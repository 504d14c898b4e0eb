//! The tables of blocks. The host knows pieces, of which there are as many as parameters, and a
//! model has a block for every 256 elements: the host writes the tables of small models, and the
//! GPU those of large ones, by a kernel that is recorded before a step.

use crate::error::Error;
use crate::gpu::compile::{Compiler, Recorded};
use crate::gpu::tables::{Tables, create, packed, written};
use crate::gpu::uploads::Bound;
use crate::layout::geometry::{BLOCK, LIVE_BITS, WORKGROUP_SIZE};
use crate::layout::plan::{Dispatch, PieceWords};
use crate::layout::sums::Reduction;
use crate::layout::words::Words;
use crate::shader::{Fixed, Resource};

/// Bytes of a row: where a block's elements are, and how many.
const ROW_BYTES: u64 = 16;

/// Bytes of a block's place among the partial sums, and its tensor's index.
const TENSOR_BYTES: u64 = 8;

/// Bytes of a block's index within its parameter, and what the parameter's chances depend on.
const ORIGIN_BYTES: u64 = 8;

/// The most rows that the host writes: 4 Mi elements' in whole blocks. Writing more takes it longer
/// than to have them written.
pub(super) const MOST_BY_HOST: u64 = 1 << 14;

/// Elements of a block, as pieces count them.
const BLOCK_LEN: u32 = BLOCK as u32;

const ROWS: &str = "wgpu-optim blocks";
const TENSORS: &str = "wgpu-optim blocks' tensors";
const ORIGINS: &str = "wgpu-optim blocks' origins";

/// The tables of all dispatches, in as few buffers as a binding allows.
#[derive(Debug)]
pub(super) struct Blocks {
    shards: Vec<Shard>,
    /// Of each dispatch the shard, the first row and the number of rows.
    places: Vec<(usize, u64, u64)>,
    /// What writes the tables, where the GPU does.
    pub writes: Vec<Recorded>,
}

#[derive(Debug)]
struct Shard {
    rows: wgpu::Buffer,
    /// Where something is summed up for each block.
    tensors: Option<wgpu::Buffer>,
    /// Where parameters are rounded by chance.
    origins: Option<wgpu::Buffer>,
}

/// Which tables there are beside the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'a> {
    /// The blocks' places among partial sums.
    pub reduction: Option<&'a Reduction>,
    /// What chances depend on.
    pub origins: bool,
}

impl Beside<'_> {
    pub const NOTHING: Self = Self { reduction: None, origins: false };
}

impl Blocks {
    /// Makes the tables. To be called within an error scope.
    pub fn new(
        compiler: &mut Compiler,
        dispatches: &[Dispatch],
        beside: Beside<'_>,
        key: impl Fn(usize) -> u32,
    ) -> Result<Self, Error> {
        let limits = compiler.limits;
        let most = limits.bound_buffer() / ROW_BYTES;
        // In rows, such that both tables of a dispatch start where a binding may.
        let alignment = limits.min_storage_buffer_offset_alignment.div_ceil(TENSOR_BYTES);
        let (places, sizes) = packed(dispatches.iter().map(Dispatch::blocks), alignment, most);
        let mut pieces = vec![Vec::new(); sizes.len()];
        let sums =
            |piece: &_| beside.reduction.map_or([0, 0], |reduction| reduction.of_piece(piece));
        for (dispatch, &(shard, first, _)) in dispatches.iter().zip(&places) {
            pieces[shard].extend(dispatch.piece_words(first as u32, sums, &key));
        }
        let (shards, writes) = if sizes.iter().sum::<u64>() <= MOST_BY_HOST {
            (by_host(&compiler.device, &pieces, &sizes, beside), Vec::new())
        } else {
            by_gpu(compiler, &pieces, &sizes, beside)?
        };
        Ok(Self { shards, places, writes })
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

    /// The origins of a dispatch's blocks, if some parameter is rounded by chance.
    pub fn origins(&self, dispatch: usize) -> Option<wgpu::BufferBinding<'_>> {
        let (shard, first, count) = self.places[dispatch];
        let origins = self.shards[shard].origins.as_ref()?;
        Some(binding(origins, first, count, ORIGIN_BYTES))
    }
}

/// The tables that these pieces have, written by the host.
fn by_host(
    device: &wgpu::Device,
    pieces: &[Vec<PieceWords>],
    sizes: &[u64],
    beside: Beside<'_>,
) -> Vec<Shard> {
    let shard = |(pieces, &count): (&Vec<_>, &u64)| Shard {
        rows: written(device, ROWS, &by_block(pieces, count, row)),
        tensors: beside
            .reduction
            .is_some()
            .then(|| written(device, TENSORS, &by_block(pieces, count, tensor))),
        origins: beside.origins.then(|| written(device, ORIGINS, &by_block(pieces, count, origin))),
    };
    pieces.iter().zip(sizes).map(shard).collect()
}

/// Something of each block of these pieces, at its row. Rows between one dispatch's and the next's
/// have no elements, and no kernel reads them.
fn by_block<T: Copy + Default>(
    pieces: &[PieceWords],
    count: u64,
    of: impl Fn(&PieceWords, u32) -> T,
) -> Vec<T> {
    let mut table = vec![T::default(); count as usize];
    for piece in pieces {
        for block in 0..piece.len.div_ceil(BLOCK_LEN) {
            table[(piece.row + block) as usize] = of(piece, block);
        }
    }
    table
}

/// A block's row, as `shaders/passes/table.wgsl` writes it.
fn row(piece: &PieceWords, block: u32) -> [u32; 4] {
    let PieceWords { len, params, grads, states, slot, .. } = *piece;
    let first = block * BLOCK_LEN;
    let live = (len - first).min(BLOCK_LEN);
    [params + first, grads + first, states + first, (slot << LIVE_BITS) + live]
}

/// The place of a block's partial sums, and its tensor, as `shaders/passes/table.wgsl` writes them.
fn tensor(piece: &PieceWords, block: u32) -> [u32; 2] {
    [piece.partial + block, piece.tensor]
}

/// A block's origin, as `shaders/passes/table.wgsl` writes it.
fn origin(piece: &PieceWords, block: u32) -> [u32; 2] {
    [piece.first_block + block, piece.key]
}

/// The tables that these pieces have, and what writes them on the GPU.
fn by_gpu(
    compiler: &mut Compiler,
    pieces: &[Vec<PieceWords>],
    sizes: &[u64],
    beside: Beside<'_>,
) -> Result<(Vec<Shard>, Vec<Recorded>), Error> {
    let nearest: Vec<_> = pieces.iter().zip(sizes).map(nearest).collect();
    let words = |pieces: &Vec<PieceWords>| {
        let mut words = Vec::with_capacity(PieceWords::LEN * pieces.len());
        pieces.iter().for_each(|piece| piece.write(&mut words));
        words
    };
    let pieces: Vec<_> = pieces.iter().map(words).collect();
    let pieces = Tables::new(&compiler.device, &pieces);
    let nearest = Tables::new(&compiler.device, &nearest);
    let (tensors, origins) = (beside.reduction.is_some(), beside.origins);
    let key = compiler.fixed(Fixed::Table { tensors, origins })?;
    let table = |label, size| create(&compiler.device, label, size, false);
    let shard = |&rows: &u64| Shard {
        rows: table(ROWS, rows * ROW_BYTES),
        tensors: tensors.then(|| table(TENSORS, rows * TENSOR_BYTES)),
        origins: origins.then(|| table(ORIGINS, rows * ORIGIN_BYTES)),
    };
    let shards: Vec<_> = sizes.iter().map(shard).collect();
    let write = |(index, (shard, &rows)): (usize, (&Shard, &u64))| {
        let mut operands = vec![
            (Resource::Pieces, pieces.binding(index)),
            (Resource::Nearest, nearest.binding(index)),
            (Resource::Table, shard.rows.as_entire_buffer_binding()),
        ];
        let tensors = shard.tensors.as_ref().map(wgpu::Buffer::as_entire_buffer_binding);
        operands.extend(tensors.map(|tensors| (Resource::Tensors, tensors)));
        let origins = shard.origins.as_ref().map(wgpu::Buffer::as_entire_buffer_binding);
        operands.extend(origins.map(|origins| (Resource::Origins, origins)));
        let grid = compiler.limits.grid(rows.div_ceil(WORKGROUP_SIZE));
        compiler.ready(key, &operands, Bound::Nothing, grid)
    };
    let writes = shards.iter().zip(sizes).enumerate().map(write).collect::<Result<_, _>>()?;
    Ok((shards, writes))
}

/// For each workgroup that writes rows the index of the last piece that starts at its first row or
/// before; then the index of the last of all.
fn nearest((pieces, &rows): (&Vec<PieceWords>, &u64)) -> Vec<u32> {
    let mut index = 0;
    let first_rows = (0..rows).step_by(WORKGROUP_SIZE as usize);
    let of_row = |row| {
        while pieces.get(index + 1).is_some_and(|next| u64::from(next.row) <= row) {
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
