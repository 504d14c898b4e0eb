//! The optimizer on the CPU.

use crate::hash::{Hash, Number};
use crate::subject::{Control, Group, Member, Subject, common_methods, configure};
use wgpu_optim::{CpuOptimizer, Real};

/// How an optimizer on the CPU takes its steps.
#[derive(Debug, Clone, Copy)]
pub enum Threads {
    One,
    All,
}

pub struct Cpu<T> {
    optimizer: CpuOptimizer<T>,
    members: Vec<Member>,
    threads: Threads,
    has_statistics: bool,
}

impl<T: Real> Cpu<T> {
    pub fn new(groups: &[Group], control: &Control, threads: Threads) -> Self {
        let builder = configure!(CpuOptimizer::<T>::builder(), groups, control, Clone::clone);
        let members = groups.iter().flat_map(Group::members).collect();
        let optimizer = builder.build().expect("built");
        Self { optimizer, members, threads, has_statistics: control.has_statistics() }
    }
}

/// In the optimizer's precision.
fn rounded<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

impl<T: Real + Number> Subject for Cpu<T> {
    common_methods!();

    fn set_param(&mut self, name: &str, values: &[f64]) {
        self.optimizer.set_param(name, &rounded::<T>(values)).expect("set");
    }
    fn set_grad(&mut self, name: &str, values: &[f64]) {
        self.optimizer.set_grad(name, &rounded::<T>(values)).expect("set");
    }
    fn zero_grad(&mut self) {
        self.optimizer.zero_grad();
    }
    fn step(&mut self) {
        match self.threads {
            Threads::One => self.optimizer.step(),
            Threads::All => self.optimizer.par_step(),
        }
        .expect("stepped");
    }
    fn arrays(&mut self, with_grads: bool) -> u64 {
        let mut hash = Hash::new();
        for Member { name, states } in &self.members {
            hash.numbers(&self.optimizer.param(name).expect("known"));
            for state in states {
                hash.numbers(&self.optimizer.state(name, state).expect("known"));
            }
            if with_grads {
                hash.numbers(&self.optimizer.grad_mut(name).expect("known"));
            }
        }
        hash.0
    }
    fn statistics(&self) -> Option<u64> {
        if !self.has_statistics {
            return None;
        }
        let scale = self.optimizer.loss_scale().ok();
        let mut hash = Hash::new();
        hash.numbers(&[self.optimizer.grad_norm(), self.optimizer.skipped() as f64]);
        hash.numbers(&scale);
        for Member { name, .. } in &self.members {
            hash.numbers(&[self.optimizer.steps(name).expect("known") as f64]);
        }
        Some(hash.0)
    }
}
