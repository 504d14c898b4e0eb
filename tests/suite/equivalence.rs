//! GPU equals reference: every rule and option, lengths around every boundary, every placement,
//! parameters and every state, several steps.

use crate::common::cases::{cases, label};
use crate::common::exact::{AROUND, check_step, f32_step};
use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement};
use crate::common::random::Random;
use wgpu_optim::{Adam, CpuOptimizer, DynRule, wgpu};

/// Around a thread, a vec4, a block and, on the small device, a binding, a grid's row and a buffer.
const LENGTHS: [usize; 9] = [0, 1, 3, 4, 5, 255, 256, 257, 65_537];

/// Lengths that whole vec4 reach.
const ALIGNED_LENGTHS: [usize; 5] = [0, 4, 256, 260, 65_540];

const STEPS: u64 = 3;

fn walk(gpu: &'static Gpu, placements: &[Placement]) {
    for rule in cases() {
        for &placement in placements {
            let lens: &[usize] =
                if placement == Placement::Aligned { &ALIGNED_LENGTHS } else { &LENGTHS };
            follow(gpu, rule.as_ref(), lens, placement);
        }
    }
}

/// Takes steps on the GPU and judges each.
fn follow(gpu: &'static Gpu, rule: &dyn DynRule, lens: &[usize], placement: Placement) {
    let mut random = Random::new(7);
    let mut model = Model::new(gpu, rule.boxed(), lens, placement).expect("built");
    model.randomize(&mut random, -18.0, 18.0);
    let mut before = model.arrays();
    for step in 1..=STEPS {
        let grads: Vec<_> = lens.iter().map(|&len| random.wide_vec(len, -18.0, 18.0)).collect();
        model.set_grads(&grads);
        model.step();
        let after = model.arrays();
        for (param, grad) in grads.iter().enumerate() {
            let judged = check_step(rule, step, &before[param], grad, &after[param]);
            let place = || format!("{} {placement:?} step {step} p{param}", label(rule));
            if let Err(mismatch) = judged {
                panic!("{}: {mismatch:?}", place());
            }
        }
        before = after;
    }
    model.check_canaries();
}

#[test]
fn gpu_equals_reference_with_default_limits() {
    walk(Gpu::default(), &PLACEMENTS);
}

#[test]
fn gpu_equals_reference_with_the_adapters_limits() {
    walk(Gpu::adapter_limits(), &PLACEMENTS);
}

#[test]
fn gpu_equals_reference_beyond_one_binding_and_one_row_of_the_grid() {
    walk(Gpu::small_bindings(), &PLACEMENTS);
}

#[test]
fn gpu_equals_reference_beyond_one_buffer() {
    walk(Gpu::small_buffers(), &[Placement::Arena]);
}

/// Elements are moved as vec4, one by one, or as words of 64 bits; what is computed with them is
/// the same.
#[test]
fn access_changes_no_bit() {
    let bits = |gpu, rule: &dyn DynRule, placement| {
        let mut random = Random::new(11);
        let mut model = Model::new(gpu, rule.boxed(), &ALIGNED_LENGTHS, placement).expect("built");
        model.randomize(&mut random, -18.0, 18.0);
        for _ in 0..STEPS {
            let grads = ALIGNED_LENGTHS.map(|len| random.wide_vec(len, -18.0, 18.0));
            model.set_grads(&grads);
            model.step();
        }
        model.bits()
    };
    // Sums are added up in another order within subgroups, so each such device has its own bits.
    for subgroups in [wgpu::Features::empty(), wgpu::Features::SUBGROUP] {
        let plain = Gpu::features(subgroups);
        let words = Gpu::features(subgroups | wgpu::Features::SHADER_INT64);
        for rule in cases() {
            let vec4 = bits(plain, rule.as_ref(), Placement::Arena);
            let scalar = bits(plain, rule.as_ref(), Placement::Separate);
            let u64 = bits(words, rule.as_ref(), Placement::Arena);
            let scalar_too = bits(words, rule.as_ref(), Placement::Separate);
            let same = [scalar, u64, scalar_too].iter().all(|other| *other == vec4);
            assert!(same, "{} {subgroups:?}", label(rule.as_ref()));
        }
    }
}

/// Beyond the magnitudes above, squares overflow or vanish. What happens then is what happens in
/// f32: an infinite second moment stops the element, a vanished one leaves eps.
#[test]
fn beyond_the_range_of_squares_the_gpu_does_what_f32_does() {
    for rule in cases() {
        // Norms must stay within f32's range, where there is one: their squares need not.
        let most = if !rule.sums().is_empty() { 1e30 } else { 3e38 };
        let extremes: [f32; 8] = [1e20, -1e20, most, -most, 1e-25, -1e-25, 1e-30, -1e-30];
        let mut model =
            Model::new(Gpu::default(), rule.boxed(), &[8], Placement::Arena).expect("built");
        let start = [1.0f32; 8];
        model.optimizer.set_param("p0", &start).expect("set");
        model.set_grads(&[extremes.to_vec()]);
        let before = model.arrays();
        model.step();
        let after = model.arrays();
        let mut expected = before[0].clone();
        f32_step(rule.as_ref(), 1, &extremes, &mut expected, |_| {});
        for (found, expected) in after[0].0.iter().flatten().zip(expected.0.iter().flatten()) {
            assert!(
                same_f32(*found, *expected),
                "{}: {found} for {expected}",
                label(rule.as_ref())
            );
        }
    }
}

/// Equal in kind, and where finite and normal to 6 ulp: there is no cancellation in these inputs.
fn same_f32(found: f32, expected: f32) -> bool {
    let tiny = |x: f32| x.abs() < f32::MIN_POSITIVE;
    found == expected
        || (found.is_nan() && expected.is_nan())
        || (tiny(found) && tiny(expected))
        || (found - expected).abs() <= 6.0 * f32::EPSILON * expected.abs()
}

/// The serial reference and the parallel driver, over more than one thread's chunk.
#[test]
fn the_parallel_driver_equals_the_serial_one_bit_for_bit() {
    for rule in cases() {
        let mut random = Random::new(3);
        let lens = [0, 1, 63, 64, 65, 100_001];
        let build = || {
            let params = lens.iter().enumerate().map(|(i, &len)| (i.to_string(), len));
            CpuOptimizer::<f32>::builder().group(rule.boxed(), params).build().expect("built")
        };
        let (mut serial, mut parallel) = (build(), build());
        for _ in 0..3 {
            for (i, &len) in lens.iter().enumerate() {
                let grad = random.wide_vec(len, -18.0, 18.0);
                serial.set_grad(i.to_string(), &grad).expect("set");
                parallel.set_grad(i.to_string(), &grad).expect("set");
            }
            serial.step().expect("stepped");
            parallel.par_step().expect("stepped");
        }
        for i in 0..lens.len() {
            let name = i.to_string();
            let bits = |o: &CpuOptimizer<f32>| o.param(&name).expect("there").mapv(f32::to_bits);
            assert_eq!(bits(&serial), bits(&parallel), "{}", label(rule.as_ref()));
        }
    }
}

/// Bias corrections stay exact for as long as anyone trains.
#[test]
fn bias_corrections_are_exact_to_f32_rounding_up_to_ten_million_steps() {
    let rule = Adam::default();
    for step in [1, 2, 3, 10, 1_000, 65_537, 1_000_000, 10_000_000] {
        let mut coeffs = Vec::new();
        DynRule::coeffs(&rule, step, &[], &mut coeffs);
        let of = |name| {
            let own = DynRule::coeff_names(&rule).iter().position(|known| *known == name);
            coeffs[AROUND + own.expect("a coefficient")]
        };
        // ln β by its series around 1, and 1 − βᵗ = −expm1(t·ln β): another road to the same
        // number.
        let bias = |one_minus_beta: f64| -f64::exp_m1(step as f64 * f64::ln_1p(-one_minus_beta));
        let step_size = rule.lr / bias(1.0 - rule.betas.0);
        let inv_sqrt = 1.0 / bias(1.0 - rule.betas.1).sqrt();
        assert!((of("step_size") / step_size - 1.0).abs() < 1e-11);
        assert!((of("inv_sqrt_bias2") / inv_sqrt - 1.0).abs() < 1e-11);
    }
}
