//! The training loop.

use crate::cli::OptimizerName;
use crate::digits::Digits;
use crate::engine::{Control, Engine, Reference};
use crate::gpu::Gpu;
use crate::network::Network;
use crate::progress::Progress;
use crate::random::Random;
use crate::run::{self, Files, Past};
use std::error::Error;
use std::time::{Duration, Instant};
use wgpu_optim::schedule::{CosineAnnealing, Schedule};
use wgpu_optim::{Adagrad, Adam, AdamW, RMSprop, Rule, SGD};

/// What all trainings have in common: the same initial parameters and the same batches.
pub struct Training {
    pub train: Digits,
    pub test: Digits,
    /// The network's inputs, hidden units and outputs.
    pub sizes: Vec<usize>,
    pub epochs: usize,
    pub batch_size: usize,
    pub seed: u64,
    pub control: Control,
    /// Where the optimizer's steps run; `None` for the CPU.
    pub gpu: Option<Gpu>,
    pub files: Files,
}

/// How a training ended.
pub enum Ending {
    Finished(Outcome),
    /// By Ctrl-C, after so many steps.
    Stopped(usize),
}

/// The results of a training with one optimizer.
pub struct Outcome {
    pub name: OptimizerName,
    /// The peak learning rate.
    pub lr: f64,
    /// Each batch's loss, before its step.
    pub losses: Vec<f32>,
    /// The loss over all training digits after the last step.
    pub train_loss: f32,
    /// The share of test digits classified correctly after the last step.
    pub test_accuracy: f32,
    /// The same of the parameters' average, if there is one.
    pub average_accuracy: Option<f32>,
    /// Steps skipped because gradients had overflowed; `losses` includes theirs.
    pub skipped: u64,
    /// The loss scale after the last step.
    pub loss_scale: f32,
    pub steps_per_second: f64,
    /// Bytes that parameters, gradients and states take, an element.
    pub bytes_per_element: f64,
    /// The largest difference between the trained parameters and those of the [`Reference`].
    pub max_difference: f32,
}

impl Training {
    pub fn steps_per_epoch(&self) -> usize {
        self.train.len().div_ceil(self.batch_size)
    }

    /// The learning-rate schedule: linear warm-up to `lr` in a twentieth of the steps, then cosine
    /// annealing to 0.
    fn schedule(&self, lr: f64) -> Schedule {
        let steps = (self.epochs * self.steps_per_epoch()) as u64;
        let warm_up = steps / 20;
        Schedule::from(CosineAnnealing::new(lr, steps - warm_up)).after_warm_up(0.1, warm_up)
    }

    /// Trains with an optimizer.
    pub fn run(&self, name: OptimizerName, lr: f64) -> Result<Ending, Box<dyn Error>> {
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

    fn run_rule(&self, name: OptimizerName, rule: impl Rule) -> Result<Ending, Box<dyn Error>> {
        let peak = rule.lr();
        let mut random = Random::new(self.seed);
        let mut network = Network::new(&self.sizes, &mut random);
        let mut engine = Engine::new(rule.clone(), &network, &self.control, self.gpu.as_ref())?;
        let mut reference = Reference::new(rule, &network, &self.control)?;
        let schedule = self.schedule(peak);
        let past = run::resume(self, (name, peak), &mut engine, &mut reference, &mut network)?;
        let Past { mut status, mut losses } = past;

        let mut progress = Progress::new(name.title(), self.epochs, self.steps_per_epoch());
        progress.go_on_from(losses.len());
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        let (mut elapsed, first) = (Duration::ZERO, losses.len());
        for epoch in 0..self.epochs {
            random.shuffle(&mut order);
            // Steps that a resumed run has behind it.
            let done = losses.len().saturating_sub(epoch * self.steps_per_epoch());
            for batch in order.chunks(self.batch_size).skip(done) {
                let start = Instant::now();
                let lr = schedule.lr(losses.len() as u64);
                let batch = self.train.select(batch);
                let (loss, gradients) = network.loss_and_gradients(&batch, status.loss_scale);
                status = engine.step(lr, &gradients, &mut network)?;
                elapsed += start.elapsed();

                reference.step(lr, &gradients)?;
                losses.push(loss);
                progress.update(&losses, &status);
                if run::is_stopped(&self.files, losses.len()) {
                    run::save(self, (name, peak), &mut engine, &losses)?;
                    progress.abandon();
                    return Ok(Ending::Stopped(losses.len()));
                }
            }
            run::save(self, (name, peak), &mut engine, &losses)?;
        }
        progress.finish();
        let average_accuracy = self.average_accuracy(&mut engine, &mut network)?;

        Ok(Ending::Finished(Outcome {
            name,
            lr: peak,
            train_loss: network.loss(&self.train),
            test_accuracy: network.accuracy(&self.test),
            average_accuracy,
            skipped: status.skipped,
            loss_scale: status.loss_scale,
            bytes_per_element: engine.bytes_per_element(),
            steps_per_second: per_second(losses.len() - first, elapsed),
            max_difference: reference.max_difference(&network)?,
            losses,
        }))
    }

    /// The test accuracy of the parameters' average, if there is one; the network has its
    /// parameters again then.
    fn average_accuracy(
        &self,
        engine: &mut Engine,
        network: &mut Network,
    ) -> Result<Option<f32>, Box<dyn Error>> {
        if self.control.modifiers.average.is_none() {
            return Ok(None);
        }
        engine.swap_average(network)?;
        let accuracy = network.accuracy(&self.test);
        engine.swap_average(network)?;
        Ok(Some(accuracy))
    }
}

/// How often something was done; 0 where it was not, as in a run that is resumed at its end.
fn per_second(times: usize, elapsed: Duration) -> f64 {
    if times == 0 { 0.0 } else { times as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::{Average, AverageKind, Format, Rounding, Storage};

    fn training(epochs: usize, batch_size: usize) -> Training {
        let (train, test) = Digits::load(&mut Random::new(0)).unwrap();
        let (sizes, control) = (vec![64, 16, 10], Control::new(1.0));
        let files = Files::default();
        Training { train, test, sizes, epochs, batch_size, seed: 0, control, gpu: None, files }
    }

    fn finished(training: &Training, name: OptimizerName, lr: f64) -> Outcome {
        match training.run(name, lr).unwrap() {
            Ending::Finished(outcome) => outcome,
            Ending::Stopped(steps) => panic!("stopped after {steps} steps"),
        }
    }

    /// A run that was saved and goes on has the losses of one that was never stopped, on the CPU
    /// and on the GPU.
    #[test]
    fn a_resumed_loss_curve_joins() {
        let path = std::env::temp_dir().join(format!("train-{}.safetensors", std::process::id()));
        let gpu = Gpu::open().expect("these tests need a GPU or a software driver");
        for gpu in [None, Some(gpu)] {
            let mut whole = training(4, 300);
            whole.gpu = gpu;
            let expected = finished(&whole, OptimizerName::AdamW, 0.01);
            // Within the third epoch.
            let stop_after = Some(2 * whole.steps_per_epoch() + 2);
            whole.files = Files { save: Some(path.clone()), stop_after, ..Files::default() };
            let ending = whole.run(OptimizerName::AdamW, 0.01).unwrap();
            assert!(matches!(ending, Ending::Stopped(steps) if Some(steps) == stop_after));
            whole.files = Files { resume: Some(path.clone()), ..Files::default() };
            let resumed = finished(&whole, OptimizerName::AdamW, 0.01);
            assert_eq!(resumed.losses, expected.losses);
            assert_eq!(resumed.skipped, expected.skipped);
            assert_eq!(resumed.test_accuracy, expected.test_accuracy);
            whole.seed = 1;
            let refused = whole.run(OptimizerName::AdamW, 0.01).err().unwrap().to_string();
            assert!(refused.contains("seed 0") && refused.contains("seed 1"), "{refused}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_learning_rate_warms_up_and_ends_near_0() {
        let schedule = training(10, 50).schedule(0.1);
        let rates: Vec<_> = (0..300).map(|step| schedule.lr(step)).collect();
        assert!((rates[0] - 0.01).abs() < 1e-9, "{}", rates[0]);
        assert!(rates[..16].is_sorted() && rates[15] == 0.1);
        assert!(rates[15..].is_sorted_by(|a, b| a > b) && rates[299] < 1e-4 && rates[299] > 0.0);
    }

    #[test]
    fn a_training_of_one_step_has_a_schedule() {
        let schedule = training(1, 1500).schedule(0.1);
        assert_eq!(schedule.validate(), Ok(()));
        assert_eq!(schedule.lr(0), 0.1);
    }

    /// In bf16 with an exact master and 8-bit states, the network learns as well as in f32.
    #[test]
    fn formats_of_16_and_8_bits_reach_the_accuracy_of_f32() {
        let outcome = |storage| {
            let mut training = training(20, 50);
            training.sizes = vec![64, 128, 64, 10];
            training.control.storage = storage;
            finished(&training, OptimizerName::AdamW, 0.003)
        };
        let small = Storage::bf16(Rounding::Remainder).states(Format::Block8);
        let [full, small] = [Storage::f32(), small].map(outcome);
        let difference = (full.test_accuracy - small.test_accuracy).abs();
        assert!(difference <= 0.005, "{} and {}", full.test_accuracy, small.test_accuracy);
        assert_eq!(full.bytes_per_element, 16.0);
        assert!(small.bytes_per_element < 8.4, "{} bytes", small.bytes_per_element);
    }

    /// The average of the weights is another network, of about the same accuracy, and the
    /// parameters are themselves again after it was tested.
    #[test]
    fn averages_and_parameters_are_both_tested() {
        let gpu = Gpu::open().expect("these tests need a GPU or a software driver");
        for gpu in [None, Some(gpu)] {
            let mut training = training(12, 50);
            training.gpu = gpu;
            let plain = finished(&training, OptimizerName::AdamW, 0.01);
            let average = Average::new(AverageKind::EmaWarmUp { decay: 0.99 });
            training.control.modifiers.average = Some(average);
            let averaged = finished(&training, OptimizerName::AdamW, 0.01);
            assert_eq!(averaged.test_accuracy, plain.test_accuracy);
            assert_eq!(plain.average_accuracy, None);
            let accuracy = averaged.average_accuracy.expect("an average");
            assert!(accuracy > 0.9 && averaged.test_accuracy > 0.9, "{accuracy}");
            assert!(averaged.max_difference < 1e-3, "{}", averaged.max_difference);
        }
    }

    #[test]
    fn training_skips_its_first_steps_and_then_learns() {
        let outcome = finished(&training(4, 50), OptimizerName::Adam, 0.01);
        let skipped = outcome.skipped as usize;
        let init_scale = Control::new(1.0).scaler.init_scale;
        assert!(skipped > 0 && outcome.loss_scale < init_scale, "{skipped} skipped");
        assert!(outcome.losses.len() == 120 && outcome.train_loss < 0.5, "{}", outcome.train_loss);
        assert_eq!(outcome.max_difference, 0.0);
    }
}
