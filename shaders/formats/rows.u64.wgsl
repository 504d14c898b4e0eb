// The table of blocks, as `rows.u32.wgsl`, moved as two words of 64 bits.
@group(0) @binding(0) var<storage, read> table: array<vec2<u64>>;

fn load_row(block: u32) -> vec4<u32> {
    return unpacked(table[block]);
}
