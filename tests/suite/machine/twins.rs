//! The optimizer on the CPU, in f32 and in f64: what the GPU must agree with.

use crate::formats::bounds::Stored;
use wgpu_optim::optimizer::{Builder, Param};
use wgpu_optim::{Cpu, CpuOptimizer, DynRule, Error, Real, Storage};

/// The same optimizer in two precisions.
pub struct Twins {
    pub single: CpuOptimizer<f32>,
    pub double: CpuOptimizer<f64>,
}

/// Does the same with both; what it gives must be the same.
macro_rules! both {
    ($twins:expr, |$twin:ident| $action:expr) => {{
        let $twin = &mut $twins.single;
        let single = $action;
        let $twin = &mut $twins.double;
        let double = $action;
        assert_eq!(single, double, "the twins differ");
        single
    }};
}
pub(super) use both;

/// What an error says, so that results can be compared.
pub fn told<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// What surrounds the steps, in any precision.
pub trait Control {
    fn control<T: Real>(&self, builder: Builder<Cpu<T>>) -> Builder<Cpu<T>>;
}

impl Twins {
    pub fn new(control: &impl Control) -> Self {
        let single = control.control(CpuOptimizer::builder()).build().expect("built");
        let double = control.control(CpuOptimizer::builder()).build().expect("built");
        Self { single, double }
    }

    pub fn add_group(&mut self, rule: &dyn DynRule, params: &[(String, usize, Storage)]) {
        fn new<P>(params: &[(String, usize, Storage)]) -> impl Iterator<Item = Param<P>> {
            params
                .iter()
                .map(|(name, len, storage)| Param::new(name, *len).storage(storage.clone()))
        }
        both!(self, |twin| told(twin.add_group(rule.boxed(), new(params)))).expect("added");
    }

    pub fn set_param(&mut self, name: &str, values: &[f32]) {
        self.single.set_param(name, values).expect("set");
        self.double.set_param(name, &widened(values)).expect("set");
    }

    pub fn set_grad(&mut self, name: &str, values: &[f32]) {
        self.single.set_grad(name, values).expect("set");
        self.double.set_grad(name, &widened(values)).expect("set");
    }

    pub fn set_state(&mut self, name: &str, state: &str, values: &[f32]) {
        self.single.set_state(name, state, values).expect("set");
        self.double.set_state(name, state, &widened(values)).expect("set");
    }

    /// Takes over what the GPU has, so that errors do not add up.
    pub fn follow(&mut self, name: &str, states: &[&str], stored: &Stored) {
        self.set_param(name, &stored.param);
        for (state, bytes) in states.iter().zip(&stored.states) {
            self.follow_state(name, state, bytes);
        }
    }

    /// Takes over a state as it is stored.
    pub fn follow_state(&mut self, name: &str, state: &str, bytes: &[u8]) {
        both!(self, |twin| told(twin.set_state_bytes(name, state, bytes))).expect("set");
    }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}
