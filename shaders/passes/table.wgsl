// Writes the table that kernels over blocks read, a row a thread, from the pieces that the blocks
// are cut from. `nearest` has for each workgroup the index of the last piece that starts at its
// first row or before, and then the last of all.

// The last piece that starts at this row or before.
fn piece_of(row: u32) -> PieceWords {
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
fn main(
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
    // Rows between one dispatch's and the next's have no elements, and no kernel reads them.
    let live = select(min(piece.len - first, BLOCK), 0u, first >= piece.len);
    let starts = vec3<u32>(piece.params, piece.grads, piece.states) + first;
    table[row] = vec4<u32>(starts, (piece.slot << LIVE_BITS) + live);
    // #if tensors
    tensors[row] = vec2<u32>(piece.partial + block, piece.tensor);
    // #end
    // #if origins
    origins[row] = vec2<u32>(piece.first_block + block, piece.key);
    // #end
}
