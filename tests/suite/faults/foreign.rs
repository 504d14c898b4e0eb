//! Things of another device.

use super::common::{CONTROLS, buffers, build, built, goes_on, refused};
use crate::common::gpu::Gpu;
use wgpu_optim::{Adam, Optimizer, Param, Place};

#[test]
fn a_buffer_of_another_device() {
    let gpu = Gpu::default();
    let elsewhere = Gpu::new(Default::default());
    let [_, foreign] = buffers(&elsewhere);
    for control in CONTROLS {
        let [p, g] = buffers(gpu);
        let words = ["`w`", "a buffer of the device", "found", "Create the buffer on that device"];
        refused(build(gpu, control, [&p, &foreign]), &words);
        refused(build(gpu, control, [&foreign, &g]), &words);
        let mut optimizer = built(gpu, control);
        refused(optimizer.set_buffers([("w", Place::new(&p, &foreign))]), &words);
        let param = Param::new("v", 3).buffers(&foreign, &g);
        refused(optimizer.add_group(Adam::default(), [param]), &["`v`", "a buffer of the device"]);
        goes_on(gpu, control, optimizer, 1);
    }
}

#[test]
fn the_queue_of_another_device() {
    let gpu = Gpu::default();
    let elsewhere = Gpu::new(Default::default());
    let built = Optimizer::builder()
        .group(Adam::default(), [("w", 3)])
        .build(&gpu.device, &elsewhere.queue);
    refused(built, &["the queue of the device", "found the queue of another", "request_device"]);
    for gpu in [gpu, &elsewhere] {
        goes_on(gpu, CONTROLS[0], super::common::built(gpu, CONTROLS[0]), 1);
    }
}

/// `build` accepts the queue while it is busy.
#[test]
fn a_busy_queue_of_the_same_device() {
    let gpu = Gpu::new(Default::default());
    let mut busy = Optimizer::builder()
        .group(Adam::default(), [("w", 4 << 20)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let mut encoder = gpu.encoder();
    (0..8).for_each(|_| busy.step(&mut encoder).expect("recorded"));
    gpu.submit(encoder);
    goes_on(&gpu, CONTROLS[1], built(&gpu, CONTROLS[1]), 1);
}
