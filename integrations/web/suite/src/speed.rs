//! How long steps take: not a test. Medians of wall-clock time.

use crate::gpu::Gpu;
use wgpu_optim::{Adam, Builder, Optimizer};

const STEPS: usize = 5;

/// What is done around a step.
type Around = fn(Builder) -> Builder;

/// Adam, plain and with something around the step, for a model of so many tensors.
pub async fn compare() {
    let gpu = Gpu::new().await;
    for (tensors, len) in [(1, 1_000), (1, 100_000), (1, 1_000_000), (100, 10_000)] {
        let around: [(&str, Around); 4] = [
            ("plain", |builder| builder),
            ("skipping", Builder::skip_non_finite),
            ("clipped", |builder| builder.clip_grad_norm(1.0)),
            ("statistics", Builder::statistics),
        ];
        for (name, around) in around {
            let params = (0..tensors).map(|i| (format!("p{i}"), len));
            let builder = around(Optimizer::builder().group(Adam::default(), params));
            let start = js_sys::Date::now();
            let built = builder.build_async(&gpu.device, &gpu.queue).await;
            let mut optimizer = built.expect("built");
            gpu.step(&mut optimizer);
            gpu.check(name).await;
            let built = js_sys::Date::now() - start;
            let mut times = Vec::new();
            for _ in 0..STEPS {
                let start = js_sys::Date::now();
                gpu.step(&mut optimizer);
                gpu.check(name).await;
                times.push(js_sys::Date::now() - start);
            }
            times.sort_by(f64::total_cmp);
            let median = times[STEPS / 2];
            crate::say(&format!(
                "{tensors} × {len} {name}: {median:.0} ms (from {:.0}), {built:.0} ms to build",
                times[0]
            ));
        }
    }
}
