//! An optimizer on the GPU with its twins, and everything that can be done with it.

mod adding;
mod around;
mod changes;
mod checks;
mod known;
mod refusals;
mod steps;
mod values;

use super::pool::Pool;
use super::twins::Twins;
use crate::common::gpu::Gpu;
use crate::common::random::Random;
use around::{AROUND, Around};
use known::Known;
use wgpu_optim::{DynRule, Optimizer, rules};

/// The most parameters of a subject: each is read after each step.
const MOST_PARAMS: usize = 10;

pub struct Subject {
    gpu: &'static Gpu,
    random: Random,
    around: Around,
    optimizer: Optimizer,
    twins: Twins,
    pool: Pool,
    /// Two rules; groups have one or the other.
    rules: [Box<dyn DynRule>; 2],
    /// Which of them each group has.
    groups: Vec<usize>,
    params: Vec<Known>,
    steps: u32,
    /// What was done, to be told where something fails.
    pub log: Vec<String>,
}

/// Rates at which no step undoes what the bounds tell apart.
const RATE: f64 = 1e-3;

impl Subject {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let gpu = match random.next() % 4 {
            0 => Gpu::small_bindings(),
            1 => Gpu::adapter_limits(),
            _ => Gpu::default(),
        };
        let around = AROUND[random.next() as usize % AROUND.len()];
        let all = rules::all();
        let first = random.next() as usize % all.len();
        let second = (first + 1 + random.next() as usize % (all.len() - 1)) % all.len();
        let rules = [&all[first], &all[second]].map(|rule| {
            let mut rule = rule.boxed();
            rule.set_lr(RATE);
            rule
        });
        let builder = around.apply(Optimizer::builder());
        let optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        let twins = Twins::new(&around);
        let (pool, names) = (Pool::new(gpu), rules.each_ref().map(|rule| rule.name()));
        let log = vec![format!("{around:?} {names:?}")];
        let (groups, params) = Default::default();
        let mut subject = Self {
            gpu,
            random,
            around,
            optimizer,
            twins,
            pool,
            rules,
            groups,
            params,
            steps: 0,
            log,
        };
        while subject.params.is_empty() {
            subject.add_group();
        }
        subject
    }

    /// Does one thing, chosen by chance.
    pub fn act(&mut self) {
        match self.random.next() % 32 {
            0..9 => self.step(),
            9..11 => self.drop_step(),
            11..13 => self.add_group(),
            13..16 => self.set_frozen(),
            16 | 17 => self.move_to_group(),
            18..21 => self.set_buffers(),
            21 => self.remove_buffers(),
            22 => self.set_values(),
            23 => self.set_states(),
            24 => self.set_steps(),
            25 => self.set_rates(),
            26 => self.set_around(),
            27 => self.statistics(),
            28 => self.zero_grad(),
            29 => self.check_all(),
            _ => self.be_refused(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.next() as usize % bound.max(1)
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    /// A parameter, if there is one.
    fn any(&mut self) -> usize {
        self.below(self.params.len())
    }

    fn values(&mut self, len: usize) -> Vec<f32> {
        self.random.wide_vec(len, 1e-3, 2.0)
    }
}
