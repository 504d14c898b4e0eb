//! A device that is lost. Every call says so, however often it is made, and counts nothing.

use super::common::{CONTROLS, LEN, buffers, build, built, goes_on, refused};
use crate::common::gpu::Gpu;
use wgpu_optim::{Adam, Error, Optimizer, Place, wgpu};

fn new_gpu() -> Gpu {
    Gpu::new(wgpu::Limits::default())
}

fn lost<T>(result: Result<T, Error>) {
    let error = refused(result, &["the device was lost", "while", "Request another"]);
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
}

/// Every call on an optimizer whose device was lost.
fn every_call_says_so(gpu: &Gpu, optimizer: &mut Optimizer) {
    // Where the GPU may have skipped some, the host does not know.
    let steps = optimizer.steps("w").ok();
    // More than the uploads' first slots.
    for _ in 0..200 {
        let mut encoder = gpu.encoder();
        lost(optimizer.step(&mut encoder));
        gpu.submit(encoder);
    }
    assert_eq!(optimizer.steps("w").ok(), steps, "a refused step was counted");
    lost(optimizer.set_param("w", &[1.0; LEN]));
    lost(optimizer.set_grad("w", &[1.0; LEN]));
    lost(optimizer.set_state("w", "exp_avg", &[1.0; LEN]));
    lost(optimizer.read_param("w").and_then(|r| r.wait()));
    lost(optimizer.read_state("w", "exp_avg").and_then(|r| r.wait()));
    if let Ok(statistics) = optimizer.read_statistics() {
        lost(statistics.wait());
    }
    // What is recorded vanishes with the encoder.
    optimizer.zero_grad(&mut gpu.encoder()).ok();
    optimizer.set_lr(0, 0.5).expect("a number of the host");
    optimizer.set_steps("w", 7).expect("a number of the host");
    lost(optimizer.step(&mut gpu.encoder()));
    optimizer.set_frozen(["w"], true).expect("known");
    lost(optimizer.step(&mut gpu.encoder()));
    lost(
        optimizer
            .add_group(Adam::default(), [("v", 1000)])
            .and_then(|_| optimizer.step(&mut gpu.encoder())),
    );
}

#[test]
fn lost_after_build() {
    for poll in [false, true] {
        for control in CONTROLS {
            let gpu = new_gpu();
            let mut optimizer = built(&gpu, control);
            // All first slots of uploads are in use: the next step makes room for more.
            let unfinished = [(); 64].map(|()| {
                let mut encoder = gpu.encoder();
                optimizer.step(&mut encoder).expect("recorded");
                encoder
            });
            gpu.device.destroy();
            if poll {
                // This frees everything on the device.
                gpu.device.poll(wgpu::PollType::wait_indefinitely()).ok();
            }
            every_call_says_so(&gpu, &mut optimizer);
            unfinished.into_iter().for_each(|encoder| gpu.submit(encoder));
            let gpu = new_gpu();
            goes_on(&gpu, control, built(&gpu, control), 1);
        }
    }
}

#[test]
fn lost_before_build() {
    let gpu = new_gpu();
    let [p, g] = buffers(&gpu);
    gpu.device.destroy();
    for control in CONTROLS {
        lost(build(&gpu, control, [&p, &g]));
        let arena = Optimizer::builder().group(Adam::default(), [("w", 3)]);
        lost(control(arena).build(&gpu.device, &gpu.queue));
    }
}

#[test]
fn lost_between_recording_and_submitting() {
    for control in CONTROLS {
        let gpu = new_gpu();
        let mut optimizer = built(&gpu, control);
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.device.destroy();
        gpu.submit(encoder);
        every_call_says_so(&gpu, &mut optimizer);
    }
}

#[test]
fn lost_after_a_change_and_while_reading() {
    for control in CONTROLS {
        let gpu = new_gpu();
        let mut optimizer = built(&gpu, control);
        let [p, g] = buffers(&gpu);
        optimizer.set_buffers([("w", Place::new(&p, &g))]).expect("moved");
        let pending = optimizer.read_param("w").expect("started");
        gpu.device.destroy();
        if let Err(error) = pending.wait() {
            lost(Err::<(), _>(error));
        }
        every_call_says_so(&gpu, &mut optimizer);
    }
}

/// The caller's own callback hears of the loss.
#[test]
fn the_callers_callback_stays() {
    let gpu = new_gpu();
    let (sender, heard) = std::sync::mpsc::channel();
    gpu.device.set_device_lost_callback(move |reason, _| sender.send(reason).expect("heard"));
    let mut optimizer = built(&gpu, CONTROLS[1]);
    gpu.device.destroy();
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).ok();
    assert_eq!(heard.recv().expect("called"), wgpu::DeviceLostReason::Destroyed);
    every_call_says_so(&gpu, &mut optimizer);
}
