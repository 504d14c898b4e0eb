use super::*;
use cautious_lion::{Coeffs, State};
use wgpu_optim::{Before, Number, Step};

fn differences<R: Rule>(rule: &R) -> [f64; 2] {
    let adapter = adapter().expect("these tests need a GPU or a software driver");
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    train_on_gpu(rule, &device, &queue).unwrap()
}

/// The WGSL of [`CautiousLion`] with the Rust side of Lion, which is not cautious.
#[derive(Debug, Clone)]
struct Careless(CautiousLion);

impl Rule for Careless {
    const NAME: &'static str = "careless";
    const WGSL: &'static str = CautiousLion::WGSL;
    type Coeffs<T: Copy> = Coeffs<T>;
    type State<T: Copy> = State<T>;

    fn lr(&self) -> f64 {
        self.0.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.0.lr = lr;
    }
    fn validate(&self) -> Result<(), Error> {
        Rule::validate(&self.0)
    }
    fn before(&self) -> Before<f64> {
        self.0.before()
    }
    fn initial_state(&self) -> State<Option<f64>> {
        self.0.initial_state()
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> Coeffs<N> {
        Rule::coeffs(&self.0, step, scalars)
    }
    fn update<T: Real>(&self, c: &Coeffs<T>, p: T, g: T, s: &mut State<T>) -> T {
        let direction = (c.beta1 * s.exp_avg + c.one_minus_beta1 * g).sign();
        s.exp_avg = c.beta2 * s.exp_avg + c.one_minus_beta2 * g;
        p - c.lr * direction
    }
    fn variants() -> Vec<Self> {
        Vec::new()
    }
}

#[test]
fn gpu_and_cpu_agree() {
    let found = differences(&RULE);
    assert!(agree(found), "{found:?}");
}

#[test]
fn a_rust_side_that_differs_from_the_wgsl_is_caught() {
    let found = differences(&Careless(RULE));
    assert!(found.iter().all(|&difference| difference > 100.0 * TOLERANCE), "{found:?}");
    assert!(!agree(found) && !agree([0.0, f64::NAN]));
    assert!(larger(f64::NAN, 1.0).is_nan() && larger(1.0, f64::NAN).is_nan());
}

#[test]
fn the_printed_shader_contains_the_rule() {
    let text = composed().unwrap();
    assert!(text.contains(CautiousLion::WGSL));
    assert!(text.contains("fn step("));
}

#[test]
fn the_cpu_trains_alone() {
    train_on_cpu().unwrap();
}
