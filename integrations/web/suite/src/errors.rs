//! What is wrong is told, though a browser tells it later.

use crate::gpu::Gpu;
use wgpu_optim::{Adam, Builder, Error, NoSums, Number, Optimizer, Param, Real, Rule, Step, wgpu};

wgpu_optim::fields! {
    struct MistakenCoeffs { lr }
}

wgpu_optim::fields! {
    struct MistakenState { last }
}

/// A rule with an unknown name in its fourth line.
#[derive(Debug, Clone)]
struct Mistaken;

impl Rule for Mistaken {
    const NAME: &'static str = "mistaken";
    const WGSL: &'static str = "struct Coeffs { lr: f32 }
struct State { last: Real }
fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).last = gradients;
    return p - c.lr * g;
}";
    type Coeffs<T: Copy> = MistakenCoeffs<T>;
    type State<T: Copy> = MistakenState<T>;
    type Sums<T: Copy> = NoSums;
    fn lr(&self) -> f64 {
        0.5
    }
    fn set_lr(&mut self, _: f64) {}
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> MistakenCoeffs<N> {
        MistakenCoeffs { lr: 0.5.into() }
    }
    fn update<T: Real>(&self, c: &MistakenCoeffs<T>, p: T, g: T, s: &mut MistakenState<T>) -> T {
        s.last = g;
        p - c.lr * g
    }
}

/// Panics unless the error has all these words.
async fn refused(gpu: &Gpu, builder: Builder, words: &[&str]) {
    refused_by(builder.build_async(&gpu.device, &gpu.queue).await, words);
}

fn refused_by(built: Result<Optimizer, Error>, words: &[&str]) {
    let message = built.map(|_| ()).expect_err("refused").to_string();
    for word in words {
        assert!(message.contains(word), "no {word} in: {message}");
    }
}

fn in_buffers(buffers: [&wgpu::Buffer; 2]) -> Builder {
    let [param, grad] = buffers;
    Optimizer::builder().group(Adam::default(), [Param::new("w", 4).buffers(param, grad)])
}

fn in_arena(len: usize) -> Builder {
    Optimizer::builder().group(Adam::default(), [("w", len)])
}

pub async fn what_build_refuses_build_async_refuses(gpu: &Gpu) {
    let words = ["`mistaken`", "gradients", "(*s).last = gradients;", "line 4"];
    refused(gpu, Optimizer::builder().group(Mistaken, [("w", 4)]), &words).await;

    let other = Gpu::new().await;
    let (own, foreign) = (gpu.buffer(&[0; 4]), other.buffer(&[0; 4]));
    in_buffers([&own, &gpu.buffer(&[0; 4])])
        .build_async(&gpu.device, &gpu.queue)
        .await
        .expect("built");
    let words = ["`w`", "a buffer of the device that the optimizer was built on"];
    refused(gpu, in_buffers([&own, &foreign]), &words).await;
    refused_by(in_arena(4).build_async(&gpu.device, &other.queue).await, &["the queue of another"]);
    // The other device told its own handler.
    other.complaints().await;

    let plain = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    refused(gpu, in_buffers([&own, &plain]), &["`w`", "STORAGE"]).await;

    let lost = Gpu::new().await;
    lost.device.destroy();
    refused(&lost, in_arena(4), &["lost"]).await;

    // The device is unharmed.
    let mut later = in_arena(4).build_async(&gpu.device, &gpu.queue).await.expect("built");
    gpu.step(&mut later);
}

/// What is given later cannot be waited for; the device tells its handler, which is the caller's.
pub async fn later_mistakes_reach_the_devices_handler(gpu: &Gpu) {
    let mut optimizer = in_arena(4).build_async(&gpu.device, &gpu.queue).await.expect("built");
    optimizer.add_group(Mistaken, [("b", 4)]).expect("not known yet");
    let complaints = gpu.complaints().await;
    assert!(complaints.iter().any(|text| text.contains("gradients")), "{complaints:#?}");
}
