// Writes the tables that kernels over blocks read, a row a thread, from the pieces that the blocks are cut from.
//
// Linked before this: WORKGROUP_SIZE and the like, LIVE_BITS, BLOCK, `leave_tensor`.

// `Dispatch::piece_words` in src/plan.rs.
struct Piece {
    row: u32, // of its first block
    len: u32,
    params: u32, // where its elements start, in elements of the dispatch's windows
    grads: u32,
    states: u32,
    entry: u32,
    partial: u32, // the place of its first block's partial sums
    tensor: u32,
}

@group(0) @binding(0) var<storage, read> pieces: array<Piece>;
// For each workgroup the index of the last piece that starts at its first row or before, and the last of all.
@group(0) @binding(1) var<storage, read> nearest: array<u32>;
@group(0) @binding(2) var<storage, read_write> table: array<vec4<u32>>;

// The last piece that starts at this row or before.
fn piece_of(row: u32) -> Piece {
    var found = nearest[row / WORKGROUP_SIZE];
    var end = nearest[row / WORKGROUP_SIZE + 1u] + 1u;
    while end - found > 1u {
        let middle = found + (end - found) / 2u;
        if pieces[middle].row <= row {
            found = middle;
        } else {
            end = middle;
        }
    }
    return pieces[found];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + invocation;
    if row >= arrayLength(&table) {
        return;
    }
    let piece = piece_of(row);
    let block = row - piece.row;
    let first = BLOCK * block;
    // Rows between one dispatch's and the next's have no elements, and nobody reads them.
    let live = select(min(piece.len - first, BLOCK), 0u, first >= piece.len);
    let starts = vec3<u32>(piece.params, piece.grads, piece.states) + first;
    table[row] = vec4<u32>(starts, (piece.entry << LIVE_BITS) + live);
    leave_tensor(row, vec2<u32>(piece.partial + block, piece.tensor));
}
