//! Saving and loading, as bytes and awaited.

use crate::arrays::{name, read};
use crate::common::random::Random;
use crate::gpu::Gpu;
use wgpu_optim::{AdamW, CpuOptimizer, NAdam, Optimizer};

const LENS: [usize; 3] = [3, 256, 1021];

fn params() -> impl Iterator<Item = (String, usize)> {
    LENS.into_iter().enumerate().map(|(i, len)| (name(i), len))
}

/// With counts that only the GPU knows, and scalars.
async fn built(gpu: &Gpu) -> Optimizer {
    let builder = Optimizer::builder().group(NAdam::default(), params()).skip_non_finite();
    builder.build_async(&gpu.device, &gpu.queue).await.expect("built")
}

fn steps(gpu: &Gpu, optimizer: &mut Optimizer, random: &mut Random) {
    for _ in 0..3 {
        for (i, len) in LENS.into_iter().enumerate() {
            optimizer.set_grad(name(i), &random.wide_vec(len, -3.0, 3.0)).expect("set");
        }
        gpu.step(optimizer);
    }
}

pub async fn a_run_resumes_to_the_bit(gpu: &Gpu) {
    let mut random = Random::new(23);
    let mut run = built(gpu).await;
    steps(gpu, &mut run, &mut random);
    let bytes = run.save().user("epoch", "3").chunk_bytes(1000).bytes_async().await.expect("saved");
    let snapshot = run.snapshot_async().await.expect("told");
    let mut resumed = built(gpu).await;
    let loaded = resumed.load().bytes(&bytes).expect("loaded");
    assert_eq!(loaded.user["epoch"], "3");
    assert_eq!(resumed.snapshot_async().await.expect("told"), snapshot);
    assert_eq!(resumed.save().user("epoch", "3").bytes_async().await.expect("saved"), bytes);
    let mut same = random.clone();
    steps(gpu, &mut run, &mut random);
    steps(gpu, &mut resumed, &mut same);
    assert_eq!(read(&run).await, read(&resumed).await);

    // The CPU's can be waited for, here too.
    let cpu = CpuOptimizer::<f32>::builder().group(NAdam::default(), params()).skip_non_finite();
    let mut cpu = cpu.build().expect("built");
    cpu.load().bytes(&bytes).expect("loaded");
    assert_eq!(cpu.save().user("epoch", "3").bytes().expect("saved"), bytes);

    let mut other = Optimizer::builder().group(AdamW::default(), params());
    other = other.skip_non_finite();
    let mut other = other.build_async(&gpu.device, &gpu.queue).await.expect("built");
    let refused = other.load().bytes(&bytes).expect_err("another rule").to_string();
    assert!(refused.contains("nadam"), "{refused}");
}
