//! Whether time is proportional to the number of elements.

use super::against::{DEVICE, contestant, steps_a_turn};
use super::support::bench::Bench;
use super::support::clock;
use super::support::gpu::Gpu;
use super::support::shapes::Shape;
use super::support::turns::{Contestant, take};
use super::support::workload::{Placement, bytes_held, checked, ours, rule};

/// Sizes from 1 M, each four times the one before.
const SIZES: [usize; 6] = [1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30];

/// The largest size where the driver computes on the CPU: larger ones take long and show nothing
/// new.
const LARGEST_IN_SOFTWARE: usize = 1 << 26;

/// Adam with different numbers of elements, in turns.
pub fn growth(bench: &mut Bench) {
    let sizes = if bench.quick { &[1 << 10, 1 << 12] } else { &SIZES[..] };
    let adam = rule("adam");
    let mut held = 0;
    let mut shapes = Vec::new();
    for shape in sizes.iter().map(|&elements| Shape::one(elements)) {
        held += bytes_held(adam.as_ref(), &shape);
        let too_large = bench.gpu.is_software() && shape.elements() > LARGEST_IN_SOFTWARE;
        if !too_large && bench.fits(&format!("growth, {}", shape.name), held) {
            shapes.push(shape);
        }
    }
    let of = |shape| contestant(&bench.gpu, shape, "adam", Placement::Arena, DEVICE);
    let lines = take(bench, DEVICE, shapes.iter().map(of).collect());
    bench.record.lines.extend(lines);
}

/// Adam in one window, in several windows of a buffer, and in several buffers: the same size, on
/// devices with different limits.
pub fn boundaries(bench: &mut Bench) {
    // Not a power of two: arrays at such distances compete for the same lines of a CPU's caches,
    // with or without a boundary.
    let elements: usize = if bench.quick { 1 << 12 } else { 15 << 20 };
    let part = elements as u64; // bytes: a quarter of an array
    let windows = bench.gpu.limited(|limits| limits.max_storage_buffer_binding_size = part);
    let buffers = bench.gpu.limited(|limits| limits.max_buffer_size = part.max(1 << 16));
    let shape = Shape::one(elements);
    let contestants = vec![
        cut(&bench.gpu, &shape, "in one window"),
        cut(&windows, &shape, "in windows"),
        cut(&buffers, &shape, "in buffers"),
    ];
    let lines = take(bench, DEVICE, contestants);
    bench.record.lines.extend(lines);
}

fn cut<'a>(gpu: &'a Gpu, shape: &Shape, name: &str) -> Contestant<'a> {
    let adam = rule("adam");
    let mut optimizer = checked(gpu, shape, adam.as_ref(), Placement::Arena);
    let name = format!("{name}, {} dispatches", optimizer.dispatches().expect("prepared"));
    let steps = steps_a_turn(gpu);
    Contestant::new(ours(adam.as_ref(), shape, &name), move || {
        clock::device(gpu, steps, &mut optimizer)
    })
}
