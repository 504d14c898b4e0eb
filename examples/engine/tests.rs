use super::*;
use digits::PIXELS;

const NAMES: [&str; 4] = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"];

fn trainer() -> Trainer {
    trainer_of(Args { in_parts: false, states: StateFormat::F32 }.into())
}

fn trainer_of(setup: Setup) -> Trainer {
    let adapter = adapter().expect("these tests need a GPU or a software driver");
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    Trainer::new(device, queue, setup).unwrap()
}

#[test]
fn an_epoch_lowers_the_loss() {
    let mut trainer = trainer();
    let before = trainer.evaluate().unwrap();
    trainer.epoch().unwrap();
    let after = trainer.evaluate().unwrap();
    assert!(after.loss < before.loss / 2.0);
    assert!(after.accuracy > 0.8);
}

/// Layer by layer, in the memory of one layer's gradients: the same losses and parameters, to the
/// bit.
#[test]
fn steps_in_parts_train_as_whole_steps_do() {
    for states in [StateFormat::F32, StateFormat::Block8] {
        let parts: Setup = Args { in_parts: true, states }.into();
        let whole = Setup { gradients: Gradients::OfAllLayers, ..parts.clone() };
        let [parts, whole] = [parts, whole].map(|setup| {
            let mut trainer = trainer_of(setup);
            let losses = [0, 1].map(|_| trainer.epoch().unwrap().loss.to_bits());
            let read = |name| trainer.optimizer.read_param(name).unwrap().wait().unwrap();
            let bits = NAMES.map(read).concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            (losses, bits, trainer.bytes)
        });
        assert_eq!(parts.0, whole.0);
        assert!(parts.1 == whole.1, "{states:?}");
        // The arena holds the hidden layer's gradients, and no more.
        assert_eq!(whole.2[0], whole.2[1]);
        assert_eq!(parts.2[1], (64 * 64 + 64) * 4);
    }
}

#[test]
fn states_in_8_bits_train_as_well() {
    let mut trainer = trainer_of(Args { in_parts: false, states: StateFormat::Block8 }.into());
    let before = trainer.evaluate().unwrap();
    trainer.epoch().unwrap();
    assert!(trainer.evaluate().unwrap().loss < before.loss / 2.0);
    let state = trainer.optimizer.read_state_bytes("hidden.weight", "exp_avg").unwrap();
    assert_eq!(state.wait().unwrap().len(), 64 * 64 / 256 * 260);
}

#[test]
fn the_learning_rate_decreases_with_every_step() {
    let mut trainer = trainer();
    trainer.step(0).unwrap();
    trainer.step(BATCH_SIZE).unwrap();
    for group in 0..trainer.optimizer.groups() {
        let lr = trainer.optimizer.rule(group).unwrap().lr();
        assert!(lr < LEARNING_RATE && lr > 0.99 * LEARNING_RATE, "{lr}");
    }
}

#[test]
fn the_monitor_reads_the_norm_before_clipping() {
    let mut trainer = trainer();
    assert_eq!(trainer.monitor.latest, None);
    trainer.step(0).unwrap();
    trainer.evaluate().unwrap(); // waits for all that was submitted
    trainer.monitor.update(&trainer.device, &trainer.optimizer).unwrap();
    let statistics = trainer.monitor.latest.unwrap();
    let norm = trainer.optimizer.read_statistics().unwrap().wait().unwrap().grad_norm;
    assert_eq!((statistics.steps, statistics.grad_norm), (1, norm));

    let read_grad = |name| trainer.optimizer.read_grad(name).unwrap().wait().unwrap();
    let grads = NAMES.map(read_grad).concat();
    let expected = grads.iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!((norm / expected - 1.0).abs() < 1e-5, "{norm}, not {expected}");
    assert!((statistics.clip * norm - MAX_NORM as f32).abs() < 1e-5, "{statistics:?}");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let widen = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();

    let mut trainer = trainer();
    let read_param = |name| widen(trainer.optimizer.read_param(name).unwrap().wait().unwrap());
    let mut params = NAMES.map(read_param);
    trainer.step(0).unwrap();
    let read_grad = |name| widen(trainer.optimizer.read_grad(name).unwrap().wait().unwrap());
    let grads = NAMES.map(read_grad);
    let images = widen(trainer.read(&trainer.training_batch.images).unwrap());
    let labels: Vec<u32> = trainer.read(&trainer.training_batch.labels).unwrap();

    for (k, name) in NAMES.iter().enumerate() {
        // A sample of the weights, and all biases of the last layer.
        for i in (0..params[k].len()).step_by(if params[k].len() > 10 { 23 } else { 1 }) {
            let value = params[k][i];
            let [above, below] = [1e-5, -1e-5].map(|change| {
                params[k][i] = value + change;
                loss(&params, &images, &labels)
            });
            params[k][i] = value;
            let slope = (above - below) / 2e-5;
            assert!(
                (grads[k][i] - slope).abs() < 1e-6,
                "{name}[{i}]: {}, not {slope}",
                grads[k][i]
            );
        }
    }
}

/// The mean loss of a batch, computed on the CPU.
fn loss([w1, b1, w2, b2]: &[Vec<f64>; 4], images: &[f64], labels: &[u32]) -> f64 {
    let losses = images.chunks(PIXELS).zip(labels).map(|(image, &label)| {
        let mut hidden = linear(w1, b1, image);
        hidden.iter_mut().for_each(|x| *x = x.max(0.0));
        let logits = linear(w2, b2, &hidden);
        logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[label as usize]
    });
    losses.sum::<f64>() / labels.len() as f64
}

fn linear(weight: &[f64], bias: &[f64], input: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(input).map(|(w, x)| w * x).sum::<f64>();
    weight.chunks(input.len()).zip(bias).map(|(row, b)| dot(row) + b).collect()
}
