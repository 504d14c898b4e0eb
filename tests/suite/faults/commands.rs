//! Commands that are dropped, outlive their optimizer, or are submitted in another order; and many
//! threads.

use super::common::{CONTROLS, bits, buffers, build, built, expected, goes_on, step};
use crate::common::gpu::{Gpu, adapter};
use wgpu_optim::wgpu;

#[test]
fn an_optimizer_that_is_dropped_before_its_commands_are_submitted() {
    let gpu = Gpu::default();
    for control in CONTROLS {
        let [p, g] = buffers(gpu);
        let mut optimizer = build(gpu, control, [&p, &g]).expect("built");
        step(gpu, &mut optimizer);
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        drop(optimizer);
        gpu.submit(encoder);
        let found = gpu.read(&p);
        assert!(found == expected(gpu, control, 2)[..found.len()], "the step did its work");
    }
}

/// More steps than there are slots for uploads, dropped in every way: before and after `finish`.
#[test]
fn encoders_that_are_dropped() {
    let gpu = Gpu::default();
    for (control, gpu_counts) in CONTROLS.into_iter().zip([false, true]) {
        let mut optimizer = built(gpu, control);
        let mut kept = Vec::new();
        for index in 0..200 {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).expect("recorded");
            match index % 3 {
                0 => drop(encoder),
                1 => drop(encoder.finish()),
                _ => kept.push(encoder.finish()),
            }
        }
        drop(kept);
        if !gpu_counts {
            optimizer.set_steps("w", 0).expect("known");
        }
        goes_on(gpu, control, optimizer, 1);
    }
}

/// Where the GPU counts, two steps of one optimizer are two steps in any order; and those of two
/// optimizers are strangers to one another everywhere.
#[test]
fn commands_that_are_submitted_in_another_order() {
    let gpu = Gpu::default();
    for (control, gpu_counts) in CONTROLS.into_iter().zip([false, true]) {
        let [mut first, mut second] = [0, 1].map(|_| built(gpu, control));
        let mut record = |own: bool| {
            let mut encoder = gpu.encoder();
            let optimizer = if own { &mut first } else { &mut second };
            optimizer.step(&mut encoder).expect("recorded");
            encoder.finish()
        };
        let mut commands = [record(true), record(false), record(false), record(true)];
        if gpu_counts {
            commands.reverse();
        } else {
            commands.swap(0, 1);
            commands.swap(2, 3);
        }
        gpu.queue.submit(commands);
        goes_on(gpu, control, first, 3);
        goes_on(gpu, control, second, 3);
    }
}

#[test]
fn many_threads_with_many_optimizers() {
    if adapter().get_info().backend == wgpu::Backend::Gl {
        println!("not run: wgpu's OpenGL backend is for one thread");
        return;
    }
    let gpu = Gpu::default();
    const STEPS: usize = 40;
    let twins = CONTROLS.map(|control| expected(gpu, control, STEPS));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let twin = &twins[thread % 2];
            scope.spawn(move || {
                let control = CONTROLS[thread % 2];
                let mut optimizer = built(gpu, control);
                for index in 0..STEPS {
                    step(gpu, &mut optimizer);
                    if index % 8 == thread {
                        optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
                        drop(built(gpu, control));
                    }
                }
                assert!(bits(&optimizer) == *twin, "thread {thread}");
            });
        }
    });
}
