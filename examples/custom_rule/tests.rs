use super::*;
use cautious_lion::{Coeffs, State, Sums};
use wgpu_optim::{Number, Real, Step};

mod formula;

/// A device, whose driver may compute on the CPU.
fn gpu() -> (wgpu::Device, wgpu::Queue) {
    let adapter = adapter().expect("these tests need a GPU or a software driver");
    pollster::block_on(adapter.request_device(&Default::default())).unwrap()
}

fn differences<R: Rule>(rule: &R) -> [f64; 2] {
    let (device, queue) = gpu();
    train_on_gpu(rule, &device, &queue).unwrap()
}

/// The WGSL of [`CautiousLion`] with a Rust side that differs from it.
#[derive(Debug, Clone)]
struct Wrong(CautiousLion, Mistake);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    /// It is Lion: the update has no mask.
    NoMask,
    /// The step is not divided by the mean of the mask.
    NoFactor,
}

impl Rule for Wrong {
    const NAME: &'static str = "wrong";
    const WGSL: &'static str = CautiousLion::WGSL;
    type Coeffs<T: Copy> = Coeffs<T>;
    type State<T: Copy> = State<T>;
    type Sums<T: Copy> = Sums<T>;

    fn lr(&self) -> f64 {
        self.0.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.0.lr = lr;
    }
    fn validate(&self) -> Result<(), Error> {
        Rule::validate(&self.0)
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> Coeffs<N> {
        Rule::coeffs(&self.0, step, scalars)
    }
    fn summands<T: Real>(&self, c: &Coeffs<T>, p: T, g: T, s: &mut State<T>) -> Sums<T> {
        self.0.summands(c, p, g, s)
    }
    fn with_sums(&self, c: Coeffs<f64>, sums: &Sums<f64>) -> Coeffs<f64> {
        match self.1 {
            Mistake::NoMask => Rule::with_sums(&self.0, c, sums),
            Mistake::NoFactor => c,
        }
    }
    fn update<T: Real>(&self, c: &Coeffs<T>, p: T, g: T, s: &mut State<T>) -> T {
        if self.1 == Mistake::NoFactor {
            return self.0.update(c, p, g, s);
        }
        let direction = (c.beta1 * s.exp_avg + c.one_minus_beta1 * g).sign();
        s.exp_avg = c.beta2 * s.exp_avg + c.one_minus_beta2 * g;
        p - c.lr * direction
    }
}

#[test]
fn gpu_and_cpu_agree() {
    let found = differences(&RULE);
    assert!(agree(found), "{found:?}");
}

#[test]
fn a_rust_side_that_differs_from_the_wgsl_is_caught() {
    for mistake in [Mistake::NoMask, Mistake::NoFactor] {
        let found = differences(&Wrong(RULE, mistake));
        let is_large = |&difference: &f64| difference > 100.0 * TOLERANCE;
        assert!(found.iter().all(is_large), "{mistake:?}: {found:?}");
        assert!(!agree(found));
    }
    assert!(!agree([0.0, f64::NAN]));
    assert!(larger(f64::NAN, 1.0).is_nan() && larger(1.0, f64::NAN).is_nan());
}

#[test]
fn the_printed_shader_contains_the_rule() {
    let text = print::update_kernel().unwrap();
    assert!(text.contains(CautiousLion::WGSL));
    assert!(text.contains("fn main("));
    let library = text.replace(CautiousLion::WGSL, "");
    assert!(library.contains("update(") && library.contains("with_sums("));
}

#[test]
fn the_cpu_trains_alone() {
    train_on_cpu().unwrap();
}
