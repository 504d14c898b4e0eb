//! The training loop.

use crate::cli::OptimizerName;
use crate::digits::Digits;
use crate::engine::{Engine, Reference};
use crate::gpu::Gpu;
use crate::network::Network;
use crate::progress::Progress;
use crate::random::Random;
use std::time::{Duration, Instant};
use wgpu_optim::{Adagrad, Adam, AdamW, Error, RMSprop, Rule, SGD};

/// What all trainings share: each starts from the same parameters and sees the same batches.
pub struct Training {
    pub train: Digits,
    pub test: Digits,
    /// The network's inputs, hidden units and outputs.
    pub sizes: Vec<usize>,
    pub epochs: usize,
    pub batch_size: usize,
    pub seed: u64,
    /// Where the optimizer's steps run; on the CPU if there is none.
    pub gpu: Option<Gpu>,
}

/// How a training with one optimizer went.
pub struct Outcome {
    pub name: OptimizerName,
    pub lr: f64,
    /// Each step's loss over its batch, before the step.
    pub losses: Vec<f32>,
    /// The loss over all training digits in the end.
    pub train_loss: f32,
    /// The share of test digits read correctly in the end.
    pub test_accuracy: f32,
    pub steps_per_second: f64,
    /// Between the trained parameters and those of the [`Reference`].
    pub max_difference: f32,
}

impl Training {
    pub fn steps_per_epoch(&self) -> usize {
        self.train.len().div_ceil(self.batch_size)
    }

    /// Trains with an optimizer.
    pub fn run(&self, name: OptimizerName, lr: f64) -> Result<Outcome, Error> {
        match name {
            OptimizerName::Adam => self.run_rule(name, Adam { lr, ..Default::default() }),
            OptimizerName::AdamW => self.run_rule(name, AdamW { lr, ..Default::default() }),
            OptimizerName::RMSprop => self.run_rule(name, RMSprop { lr, ..Default::default() }),
            OptimizerName::Adagrad => self.run_rule(name, Adagrad { lr, ..Default::default() }),
            OptimizerName::Sgd => {
                self.run_rule(name, SGD { lr, momentum: 0.9, ..Default::default() })
            }
        }
    }

    fn run_rule(&self, name: OptimizerName, rule: impl Rule) -> Result<Outcome, Error> {
        let lr = rule.lr();
        let mut random = Random::new(self.seed);
        let mut network = Network::new(&self.sizes, &mut random);
        let mut engine = Engine::new(rule.clone(), &network, self.gpu.as_ref())?;
        let mut reference = Reference::new(rule, &network)?;

        let progress = Progress::new(name.title(), self.epochs, self.steps_per_epoch());
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        let mut losses = Vec::new();
        let mut elapsed = Duration::ZERO;
        for _ in 0..self.epochs {
            random.shuffle(&mut order);
            for batch in order.chunks(self.batch_size) {
                let start = Instant::now();
                let (loss, gradients) = network.loss_and_gradients(&self.train.select(batch));
                engine.step(&gradients, &mut network)?;
                elapsed += start.elapsed();

                reference.step(&gradients)?;
                losses.push(loss);
                progress.update(&losses);
            }
        }
        progress.finish();

        Ok(Outcome {
            name,
            lr,
            train_loss: network.loss(&self.train),
            test_accuracy: network.accuracy(&self.test),
            steps_per_second: losses.len() as f64 / elapsed.as_secs_f64(),
            max_difference: reference.max_difference(&network)?,
            losses,
        })
    }
}
