// Which four elements of a block a thread takes: neighbours, so that they are one vec4.
fn lanes_of(thread: u32) -> vec4<u32> {
    return vec4<u32>(4u * thread) + vec4<u32>(0u, 1u, 2u, 3u);
}
