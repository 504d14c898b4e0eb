//! A device whose memory is full.

use super::common::{CONTROLS, built, goes_on, refused};
use crate::common::gpu::{Gpu, adapter};
use std::process::Command;
use wgpu_optim::{Adam, Error, Optimizer, Param, SGD, wgpu};

/// Set in the process that has little memory.
const INSIDE: &str = "WGPU_OPTIM_TEST_HAS_LITTLE_MEMORY";

/// KiB of addresses that that process has: more than a driver takes, less than [`LARGE`] does.
const ADDRESSES: u64 = 5 << 20;

/// Elements of four arrays that take 7 GiB together. They are never touched.
const LARGE: usize = 448 << 20;

/// On a driver that computes on the CPU memory is the process's, which a shell can limit: the test
/// runs itself in such a shell.
#[test]
fn a_full_device() {
    if std::env::var_os(INSIDE).is_some() {
        return full();
    }
    let info = adapter().get_info();
    let of_process =
        info.device_type == wgpu::DeviceType::Cpu && info.backend == wgpu::Backend::Vulkan;
    if !(cfg!(target_os = "linux") && of_process) {
        println!("not run: this driver's memory is not the process's");
        return;
    }
    let test = std::env::current_exe().expect("known");
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -v {ADDRESSES} && exec \"$0\" --exact faults::memory::a_full_device"))
        .arg(test)
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("a shell").success(), "see above");
}

fn full() {
    let gpu = Gpu::new(wgpu::Limits::default());
    let bytes = 4 * LARGE;
    let large = || Optimizer::builder().group(Adam::default(), [("large", LARGE)]);
    let control = CONTROLS[1];
    let error = refused(
        control(large()).build(&gpu.device, &gpu.queue),
        &[
            "no memory left, while creating states",
            &format!("take {} bytes", 4 * bytes),
            &format!("{bytes} for `parameters`"),
            &format!("{bytes} for `gradients`"),
            &format!("{bytes} for `exp_avg`"),
            &format!("{bytes} for `exp_avg_sq`"),
            "a rule with fewer states",
        ],
    );
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
    // Growing is refused in the same way, and leaves the optimizer as it was.
    let mut optimizer = built(&gpu, control);
    let large = Param::new("large", LARGE);
    refused(optimizer.add_group(Adam::default(), [large]), &["no memory left", "`exp_avg`"]);
    assert_eq!((optimizer.groups(), optimizer.params().len()), (1, 1));
    goes_on(&gpu, control, optimizer, 1);
    full_after_the_arrays(&gpu);
}

/// There is memory for the arrays, but not for what steps need beside them; and where it is freed
/// there is.
fn full_after_the_arrays(gpu: &Gpu) {
    let create = |size| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test"),
            size,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let arrays = [0; 14].map(|_| create(256 << 20));
    let build = || {
        let param = |(index, pair): (usize, &[wgpu::Buffer])| {
            Param::new(format!("p{index}"), 64 << 20).buffers(&pair[0], &pair[1])
        };
        Optimizer::builder()
            .group(SGD::default(), arrays.chunks(2).enumerate().map(param))
            .statistics()
            .build(&gpu.device, &gpu.queue)
    };
    let mut rest = Vec::new();
    loop {
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = create(16 << 20);
        if pollster::block_on(scope.pop()).is_some() {
            break;
        }
        rest.push(buffer);
    }
    let error = refused(build(), &["no memory left, while preparing a step", "Free memory"]);
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
    println!("{error}");
    drop(rest);
    build().expect("there is memory again");
}
