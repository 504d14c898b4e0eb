//! What becomes of steps that are smaller than a unit in the last place, over 10⁵ of them.

use super::model::twin;
use wgpu_optim::{Format, Rounding, SGD, Storage};

const STEPS: u32 = 100_000;

/// Elements, so that a mean of chances is one.
const LEN: usize = 256;

/// The mean of all elements after steps from 1 down by `update` each.
fn mean(storage: &Storage, update: f64) -> f64 {
    let rule = SGD { lr: update, ..Default::default() };
    let mut cpu = twin(&rule, &storage.clone().grads(Format::F32), &[LEN]);
    cpu.set_param("p0", &vec![1.0; LEN]).expect("set");
    cpu.set_grad("p0", &vec![1.0; LEN]).expect("set");
    (0..STEPS).for_each(|_| cpu.step().expect("stepped"));
    let values = cpu.param("p0").expect("known");
    values.iter().map(|&x| f64::from(x)).sum::<f64>() / LEN as f64
}

#[test]
fn small_steps_are_lost_only_to_the_nearest() {
    // From 1 to 0.905 in 10⁵ steps, each of 16 units in an f32's last place below 1.
    let update = 2.0f64.powi(-20);
    let expected = 1.0 - f64::from(STEPS) * update;
    let f32 = mean(&Storage::f32(), update);
    assert!((f32 - expected).abs() < 1e-6, "f32: {f32}");
    for storage in [Storage::bf16(Rounding::Nearest), Storage::f16(Rounding::Nearest)] {
        assert_eq!(mean(&storage, update), 1.0, "{storage:?} moved");
    }
    // Masters in f32 make the same run, rounded at its end.
    let bf16_ulp = 2.0f64.powi(-8);
    for rounding in [Rounding::Master, Rounding::Remainder] {
        let found = mean(&Storage::bf16(rounding), update);
        assert!((found - f32).abs() <= bf16_ulp / 2.0, "{rounding:?}: {found}");
    }
    let found = mean(&Storage::f16(Rounding::Master), update);
    assert!((found - f32).abs() <= 2.0f64.powi(-12), "f16 with a master: {found}");
    // A sum that keeps what is lost in 11 bits more.
    let found = mean(&Storage::f16(Rounding::Kahan), update);
    assert!((found - expected).abs() <= 2e-3, "f16, Kahan: {found}");
    // Of bf16 twice its bits are too few for that, but enough for larger steps.
    assert_eq!(mean(&Storage::bf16(Rounding::Kahan), update), 1.0);
    let found = mean(&Storage::bf16(Rounding::Kahan), 64.0 * update);
    let far = 1.0 - 64.0 * f64::from(STEPS) * update;
    assert!((found - far).abs() <= 0.03, "bf16, Kahan: {found}, {far}");
    // By chance the mean is right, as far as a mean of 256 walks is.
    let found = mean(&Storage::bf16(Rounding::Stochastic { seed: 3 }), update);
    let deviation = (f64::from(STEPS) * update * bf16_ulp / 256.0).sqrt();
    assert!((found - expected).abs() <= 5.0 * deviation, "by chance: {found}");
}
