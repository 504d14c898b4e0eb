// Random bits by a counter, without a state: pcg4d (Jarzynski and Olano 2020). The twin is
// src/layout/formats/noise.rs.

fn mixed(v: vec4<u32>) -> vec4<u32> {
    var m = v;
    m.x += m.y * m.w;
    m.y += m.z * m.x;
    m.z += m.x * m.y;
    m.w += m.y * m.z;
    return m;
}

// 16 random bits for each of a thread's elements.
fn noise(thread: u32, block: u32, step: f32, key: u32) -> vec4<u32> {
    let v = vec4<u32>(thread, block, bitcast<u32>(step), key) * 1664525u + 1013904223u;
    let once = mixed(v);
    return mixed(once ^ (once >> vec4<u32>(16u))) >> vec4<u32>(16u);
}
