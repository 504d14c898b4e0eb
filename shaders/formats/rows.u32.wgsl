// The table of blocks: a row of four words for each. Written by `driver/rows.wgsl`.
@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;

fn load_row(block: u32) -> vec4<u32> {
    return table[block];
}
