//! The rule against the paper's formula, which is written here a second time: over whole arrays, in
//! f64, without the crate.

use super::{CautiousLion, Mistake, OFFSET, Wrong, gpu};
use wgpu_optim::ndarray::Array1;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{CpuOptimizer, Lion, Optimizer, Param, Real, Rule};

/// With these betas, and gradients that are multiples of ½ up to 4, `exp_avg` and the argument of
/// `sign` are exact in f32 for 8 steps. So no direction depends on rounding, terms that cancel give
/// 0, and the GPU and the CPU must agree over several steps.
const EXACT: CautiousLion = CautiousLion { lr: 0.5, betas: (0.5, 0.75) };

const STEPS: usize = 6;

/// Less than a vec4, one element less and one more than a block of 256, and many blocks.
const LENGTHS: [usize; 5] = [1, 3, 255, 257, 70_000];

/// A tensor before the first step, and its gradients in each step.
struct Case {
    name: String,
    start: Array1<f64>,
    grads: Vec<Array1<f64>>,
}

impl Case {
    fn new(name: String, len: usize, grad: impl Fn(usize, usize) -> f64) -> Self {
        let start = Array1::from_shape_fn(len, |i| f64::from(noise(i, STEPS) as i16) / 32_768.0);
        let grads = (0..STEPS).map(|step| Array1::from_shape_fn(len, |i| grad(i, step)));
        Self { name, start, grads: grads.collect() }
    }

    fn len(&self) -> usize {
        self.start.len()
    }
}

/// 16 bits that look random.
fn noise(i: usize, step: usize) -> u16 {
    let x = (i as u32 ^ ((step as u32) << 20)).wrapping_mul(0x9e37_79b9);
    let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    (x >> 16) as u16
}

/// Tensors of each length with integers from −4 to 4 as gradients, and two at the factor's limit.
fn cases() -> Vec<Case> {
    let random = |i, step| f64::from(noise(i, step) % 9) - 4.0;
    let mut cases: Vec<_> =
        LENGTHS.iter().map(|&len| Case::new(format!("{len}"), len, random)).collect();
    // After the first step nearly all gradients oppose the momentum: 7 of 70 000 elements move, so
    // few that the mean of the mask is below 1e-3.
    let opposed = |i: usize, step| if step == 0 || i.is_multiple_of(10_000) { 4.0 } else { -0.5 };
    cases.push(Case::new("opposed".into(), 70_000, opposed));
    // No element moves: the mask excludes a product of 0.
    cases.push(Case::new("still".into(), 5, |_, _| 0.0));
    cases
}

/// A tensor after the last step.
struct Tensor {
    param: Array1<f64>,
    exp_avg: Array1<f64>,
}

/// Lion with the mask of Liang et al. 2024 and its factor 1/max(mean(mask), 1e-3).
fn expected(rule: &CautiousLion, case: &Case) -> Tensor {
    let (beta1, beta2) = rule.betas;
    let mut param = case.start.clone();
    let mut exp_avg = Array1::zeros(case.len());
    for grad in &case.grads {
        let update = (beta1 * &exp_avg + (1.0 - beta1) * grad)
            .mapv(|x: f64| if x == 0.0 { 0.0 } else { x.signum() });
        let mask = (&update * grad).mapv(|product| if product > 0.0 { 1.0 } else { 0.0 });
        let mask = &mask / mask.mean().unwrap().max(1e-3);
        param = param - rule.lr * &update * mask;
        exp_avg = beta2 * exp_avg + (1.0 - beta2) * grad;
    }
    Tensor { param, exp_avg }
}

fn on_cpu<T: Real>(rule: impl Rule, cases: &[Case]) -> Vec<Tensor> {
    let convert = |x: &Array1<f64>| x.mapv(T::from_f64);
    let tensors = cases.iter().map(|case| (&*case.name, case.len()));
    let mut optimizer = CpuOptimizer::<T>::builder().group(rule, tensors).build().unwrap();
    for case in cases {
        optimizer.set_param(&*case.name, &convert(&case.start)).unwrap();
    }
    for step in 0..STEPS {
        for case in cases {
            optimizer.set_grad(&*case.name, &convert(&case.grads[step])).unwrap();
        }
        optimizer.step().unwrap();
    }
    let tensor = |case: &Case| Tensor {
        param: optimizer.param(&*case.name).unwrap().mapv(T::to_f64),
        exp_avg: optimizer.state(&*case.name, "exp_avg").unwrap().mapv(T::to_f64),
    };
    cases.iter().map(tensor).collect()
}

fn on_gpu(rule: impl Rule, cases: &[Case], is_own: bool) -> Vec<Tensor> {
    let (device, queue) = gpu();
    let param = |case: &Case| {
        let param = Param::new(&*case.name, case.len());
        if is_own { in_own_buffer(&device, param, case.len()) } else { param }
    };
    let params: Vec<_> = cases.iter().map(param).collect();
    let mut optimizer = Optimizer::builder().group(rule, params).build(&device, &queue).unwrap();
    let narrow = |x: &Array1<f64>| x.mapv(|x| x as f32);
    for case in cases {
        optimizer.set_param(&*case.name, &narrow(&case.start)).unwrap();
    }
    for step in 0..STEPS {
        for case in cases {
            optimizer.set_grad(&*case.name, &narrow(&case.grads[step])).unwrap();
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        queue.submit([encoder.finish()]);
    }
    let widen = |x: Vec<f32>| x.into_iter().map(f64::from).collect();
    let tensor = |case: &Case| Tensor {
        param: widen(optimizer.read_param(&*case.name).unwrap().wait().unwrap()),
        exp_avg: widen(optimizer.read_state(&*case.name, "exp_avg").unwrap().wait().unwrap()),
    };
    cases.iter().map(tensor).collect()
}

/// A tensor and its gradient in one buffer, off the alignment that vec4 access needs.
fn in_own_buffer(device: &wgpu::Device, param: Param, len: usize) -> Param {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 2 * (OFFSET + len) as u64,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let [first, second] = [OFFSET, 2 * OFFSET + len].map(|element| 4 * element as u64);
    param.buffers((&buffer, first), (&buffer, second))
}

/// Whether tensors are as expected: `exp_avg` to the last bit, parameters within what steps of this
/// relative precision can differ by.
fn are_as_expected(found: &[Tensor], rule: &CautiousLion, cases: &[Case], epsilon: f64) -> bool {
    let is_near = |(found, case): (&Tensor, &Case)| {
        let expected = expected(rule, case);
        let near = |(&found, &expected): (&f64, &f64)| {
            // Each step rounds the factor and the new parameter.
            let tolerance = 2.0 * STEPS as f64 * epsilon * expected.abs().max(1.0);
            (found - expected).abs() <= tolerance
        };
        found.exp_avg == expected.exp_avg && found.param.iter().zip(&expected.param).all(near)
    };
    found.iter().zip(cases).all(is_near)
}

#[test]
fn the_cpu_follows_the_formula() {
    let cases = cases();
    let f64s = on_cpu::<f64>(EXACT, &cases);
    assert!(are_as_expected(&f64s, &EXACT, &cases, f64::EPSILON));
    let f32s = on_cpu::<f32>(EXACT, &cases);
    assert!(are_as_expected(&f32s, &EXACT, &cases, f32::EPSILON.into()));
}

#[test]
fn the_cpu_follows_the_formula_with_lions_betas() {
    let (cases, rule) = (cases(), CautiousLion { lr: 1e-2, betas: (0.9, 0.99) });
    let found = on_cpu::<f64>(rule.clone(), &cases);
    assert!(are_as_expected(&found, &rule, &cases, f64::EPSILON));
}

#[test]
fn the_gpu_follows_the_formula_in_the_arena() {
    let cases = cases();
    let found = on_gpu(EXACT, &cases, false);
    assert!(are_as_expected(&found, &EXACT, &cases, f32::EPSILON.into()));
}

#[test]
fn the_gpu_follows_the_formula_in_buffers_of_our_own() {
    let cases = cases();
    let found = on_gpu(EXACT, &cases, true);
    assert!(are_as_expected(&found, &EXACT, &cases, f32::EPSILON.into()));
}

#[test]
fn other_formulas_are_caught() {
    let cases = cases();
    let CautiousLion { lr, betas } = EXACT;
    let lion = on_cpu::<f64>(Lion { lr, betas, weight_decay: 0.0, ..Default::default() }, &cases);
    let unscaled = on_cpu::<f64>(Wrong(EXACT, Mistake::NoFactor), &cases);
    for other in [lion, unscaled] {
        for (found, case) in other.chunks(1).zip(cases.chunks(1)) {
            // A single element that moves has the factor 1, and "still" moves by no formula.
            let differs = case[0].len() > 1 && case[0].name != "still";
            let is_caught = !are_as_expected(found, &EXACT, case, f32::EPSILON.into());
            assert_eq!(is_caught, differs, "{}", case[0].name);
        }
    }
}

/// Two steps or more of the opposed case have the length lr/1e-3; without the limit of the factor
/// they would be ten times as long.
#[test]
fn the_opposed_case_is_at_the_limit_of_the_factor() {
    let cases = cases();
    let opposed = cases.iter().find(|case| case.name == "opposed").unwrap();
    let distance = opposed.start[0] - expected(&EXACT, opposed).param[0];
    let longest = EXACT.lr / 1e-3;
    assert!((2.0 * longest..STEPS as f64 * longest).contains(&distance), "{distance}");
}
