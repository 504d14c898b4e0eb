//! Buffers that are mapped or destroyed.

use super::common::{CONTROLS, LEN, bits, buffers, build, built, expected, goes_on, refused, step};
use crate::common::gpu::Gpu;
use std::sync::{Arc, Mutex};
use wgpu_optim::{Place, wgpu};

/// A buffer that is mapped since it was made.
fn mapped(gpu: &Gpu) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("mapped"),
        size: 4 * LEN as u64,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: true,
    })
}

#[test]
fn writing_to_a_mapped_buffer() {
    let gpu = Gpu::default();
    for control in CONTROLS {
        let g = mapped(gpu);
        let [p, good] = buffers(gpu);
        let mut optimizer = build(gpu, control, [&p, &g]).expect("mapping may end before a step");
        let words = ["`w`", "neither mapped nor destroyed", "Unmap"];
        refused(optimizer.set_grad("w", &[1.0; LEN]), &words);
        refused(optimizer.read_grad("w"), &["reading values back", "unharmed"]);
        g.unmap();
        optimizer.set_grad("w", &[0.0; LEN]).expect("unmapped");
        optimizer.set_buffers([("w", Place::new(&p, &good))]).expect("moved");
        goes_on(gpu, control, optimizer, 1);
    }
}

#[test]
fn a_destroyed_buffer() {
    let gpu = Gpu::default();
    for control in CONTROLS {
        let [p, g] = buffers(gpu);
        let [_, spare] = buffers(gpu);
        let mut optimizer = build(gpu, control, [&p, &g]).expect("built");
        step(gpu, &mut optimizer);
        g.destroy();
        refused(optimizer.set_grad("w", &[1.0; LEN]), &["`w`", "destroyed", "set_buffers"]);
        refused(optimizer.zero_grad(&mut gpu.encoder()), &["`w`", "destroyed"]);
        refused(optimizer.read_grad("w"), &["reading values back", "destroyed"]);
        optimizer.set_buffers([("w", Place::new(&p, &spare))]).expect("moved");
        goes_on(gpu, control, optimizer, 2);

        let mut optimizer = built(gpu, control);
        let words = ["`w`", "not destroyed", "has been destroyed", "keep it"];
        refused(optimizer.set_buffers([("w", Place::new(&p, &g))]), &words);
        refused(build(gpu, control, [&p, &g]), &words);
        goes_on(gpu, control, optimizer, 1);
    }
}

/// What the docs of `step` say: wgpu tells of a buffer that is mapped or destroyed at `submit`, to
/// the device's handler; none of the commands run, and `set_steps` sets the count right.
#[test]
fn a_buffer_mapped_or_destroyed_between_recording_and_submitting() {
    let gpu = Gpu::new(wgpu::Limits::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        heard.lock().expect("not poisoned").push(error.to_string());
    }));
    for (control, gpu_counts) in CONTROLS.into_iter().zip([false, true]) {
        let [p, g] = buffers(&gpu);
        let [_, spare] = buffers(&gpu);
        let mut optimizer = build(&gpu, control, [&p, &g]).expect("built");
        step(&gpu, &mut optimizer);
        let before = bits(&optimizer);
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        g.destroy();
        gpu.submit(encoder);
        let messages = std::mem::take(&mut *told.lock().expect("not poisoned"));
        assert!(matches!(&messages[..], [one] if one.contains("destroyed")), "{messages:?}");
        assert!(bits(&optimizer) == before, "none of the commands ran");
        if !gpu_counts {
            optimizer.set_steps("w", 1).expect("known");
        }
        optimizer.set_buffers([("w", Place::new(&p, &spare))]).expect("moved");
        step(&gpu, &mut optimizer);
        assert!(bits(&optimizer) == expected(&gpu, control, 2));
    }
}
