//! Random bits by a counter, without a state: pcg4d (Jarzynski and Olano 2020). The twin is
//! `shaders/formats/noise.wgsl`.

use crate::layout::geometry::{BLOCK, ELEMENTS_PER_THREAD};

/// The 16 random bits of a parameter's element in a step.
pub fn noise(element: u64, step: f32, key: u32) -> u32 {
    let (block, within) = (element / BLOCK, element % BLOCK);
    let thread = within / ELEMENTS_PER_THREAD;
    let words = pcg4d([thread as u32, block as u32, step.to_bits(), key]);
    words[(within % ELEMENTS_PER_THREAD) as usize] >> 16
}

fn pcg4d(v: [u32; 4]) -> [u32; 4] {
    let mut v = v.map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    mix(&mut v);
    v = v.map(|x| x ^ x >> 16);
    mix(&mut v);
    v
}

fn mix(v: &mut [u32; 4]) {
    for (into, [a, b]) in [(0, [1, 3]), (1, [2, 0]), (2, [0, 1]), (3, [1, 2])] {
        v[into] = v[into].wrapping_add(v[a].wrapping_mul(v[b]));
    }
}
