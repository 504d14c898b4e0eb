// Which four elements of a block a thread takes: a quarter of the block apart, so that neighbouring
// threads touch neighbouring elements.
fn lanes_of(thread: u32) -> vec4<u32> {
    return vec4<u32>(thread) + THREADS_PER_BLOCK * vec4<u32>(0u, 1u, 2u, 3u);
}
