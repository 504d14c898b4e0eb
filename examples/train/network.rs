//! A multilayer perceptron with its loss and gradients, on the host.

use crate::digits::Digits;
use crate::half::round_to_f16;
use crate::random::Random;
use ndarray::{Array1, Array2, ArrayView1, ArrayViewD, ArrayViewMutD, Axis};

/// Fully connected layers with ReLU between them; the last layer's outputs are logits.
///
/// The gradients of its parameters have its shape, so they are a `Network` too.
#[derive(Clone)]
pub struct Network {
    layers: Vec<Layer>,
}

#[derive(Clone)]
struct Layer {
    /// A row for each input, a column for each output.
    weight: Array2<f32>,
    bias: Array1<f32>,
}

impl Network {
    /// A network with these numbers of inputs, hidden units and outputs, initialized as He et al.
    /// (2015) advise for ReLU: weights of variance 2/inputs, biases zero.
    pub fn new(sizes: &[usize], random: &mut Random) -> Self {
        let layer = |pair: &[usize]| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let deviation = (2.0 / inputs as f32).sqrt();
            Layer {
                weight: Array2::from_shape_simple_fn((inputs, outputs), || {
                    deviation * random.normal()
                }),
                bias: Array1::zeros(outputs),
            }
        };
        Self { layers: sizes.windows(2).map(layer).collect() }
    }

    /// The parameters: every tensor with its name.
    pub fn tensors(&self) -> impl Iterator<Item = (String, ArrayViewD<'_, f32>)> {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            let [weight, bias] = names(index);
            [(weight, layer.weight.view().into_dyn()), (bias, layer.bias.view().into_dyn())]
        })
    }

    /// The parameters, to change.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = (String, ArrayViewMutD<'_, f32>)> {
        self.layers.iter_mut().enumerate().flat_map(|(index, layer)| {
            let [weight, bias] = names(index);
            [(weight, layer.weight.view_mut().into_dyn()), (bias, layer.bias.view_mut().into_dyn())]
        })
    }

    /// The mean loss over these digits.
    pub fn loss(&self, digits: &Digits) -> f32 {
        cross_entropy(self.forward(&digits.images).1, &digits.labels).0
    }

    /// The share of these digits that the network classifies correctly.
    pub fn accuracy(&self, digits: &Digits) -> f32 {
        let (_, logits) = self.forward(&digits.images);
        let correct = logits
            .rows()
            .into_iter()
            .zip(&digits.labels)
            .filter(|(row, label)| argmax(row) == **label);
        correct.count() as f32 / digits.len() as f32
    }

    /// The mean loss over these digits, and the gradient of `scale` times the loss with respect to
    /// every parameter.
    ///
    /// The backward pass rounds to f16, as mixed-precision training does. The loss is scaled up
    /// since small gradients would underflow in f16; gradients that are too large become infinite,
    /// and NaN in later operations.
    pub fn loss_and_gradients(&self, digits: &Digits, scale: f32) -> (f32, Network) {
        let (inputs, logits) = self.forward(&digits.images);
        // The gradient with respect to a layer's outputs, from the last layer to the first.
        let (loss, mut delta) = cross_entropy(logits, &digits.labels);
        delta.mapv_inplace(|gradient| round_to_f16(scale * gradient));
        let mut gradients = Vec::new();
        for (layer, input) in self.layers.iter().zip(&inputs).rev() {
            gradients.push(Layer {
                weight: input.t().dot(&delta).mapv_into(round_to_f16),
                bias: delta.sum_axis(Axis(0)).mapv_into(round_to_f16),
            });
            delta = delta.dot(&layer.weight.t()).mapv_into(round_to_f16);
            // The gradient of ReLU is 0 where its input was negative.
            delta.zip_mut_with(input, |gradient, &input| {
                if input <= 0.0 {
                    *gradient = 0.0;
                }
            });
        }
        gradients.reverse();
        (loss, Network { layers: gradients })
    }

    /// The inputs of every layer, and the last layer's outputs.
    fn forward(&self, images: &Array2<f32>) -> (Vec<Array2<f32>>, Array2<f32>) {
        let mut inputs = Vec::new();
        let mut values = images.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                values.mapv_inplace(relu);
            }
            let outputs = values.dot(&layer.weight) + &layer.bias;
            inputs.push(std::mem::replace(&mut values, outputs));
        }
        (inputs, values)
    }
}

fn names(layer: usize) -> [String; 2] {
    ["weight", "bias"].map(|tensor| format!("layer{}.{tensor}", layer + 1))
}

fn relu(x: f32) -> f32 {
    x.max(0.0)
}

/// The class with the largest logit.
fn argmax(logits: &ArrayView1<'_, f32>) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or_default()
}

/// The mean cross-entropy of the logits' softmax, and its gradient with respect to the logits.
fn cross_entropy(logits: Array2<f32>, labels: &[usize]) -> (f32, Array2<f32>) {
    let count = labels.len() as f32;
    let mut loss = 0.0;
    let mut gradient = logits;
    for (mut row, &label) in gradient.rows_mut().into_iter().zip(labels) {
        // Subtracting the largest logit does not change softmax, and prevents overflow.
        let largest = row.fold(f32::NEG_INFINITY, |largest, &logit| largest.max(logit));
        row -= largest;
        let correct = row[label];
        row.mapv_inplace(f32::exp);
        let sum = row.sum();
        loss += (sum.ln() - correct) / count;
        row /= sum;
        row[label] -= 1.0;
        row /= count;
    }
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four random images, and a network with two hidden layers.
    fn example() -> (Network, Digits) {
        let mut random = Random::new(3);
        let images = Array2::from_shape_simple_fn((4, 5), || random.normal());
        let network = Network::new(&[5, 7, 6, 3], &mut random);
        (network, Digits { images, labels: vec![0, 1, 2, 1] })
    }

    #[test]
    fn gradients_are_those_of_finite_differences_times_the_scale() {
        const H: f32 = 5e-3;
        const SCALE: f32 = 1024.0;
        let (network, digits) = example();
        let (_, gradients) = network.loss_and_gradients(&digits, SCALE);
        for (tensor, (name, gradient)) in gradients.tensors().enumerate() {
            for (element, &gradient) in gradient.iter().enumerate() {
                let loss_at = |shift| {
                    let mut shifted = network.clone();
                    let (_, mut values) = shifted.tensors_mut().nth(tensor).unwrap();
                    *values.iter_mut().nth(element).unwrap() += shift;
                    shifted.loss(&digits)
                };
                let difference = (loss_at(H) - loss_at(-H)) / (2.0 * H);
                assert!(
                    (difference - gradient / SCALE).abs() < 1e-3,
                    "{name}[{element}]: gradient {gradient}/{SCALE}, finite difference {difference}"
                );
            }
        }
    }

    #[test]
    fn gradients_overflow_under_a_large_scale_and_vanish_under_a_small_one() {
        let (network, digits) = example();
        let gradients = |scale| {
            let (loss, gradients) = network.loss_and_gradients(&digits, scale);
            assert_eq!(loss, network.loss(&digits), "only gradients are scaled");
            gradients
                .tensors()
                .flat_map(|(_, values)| values.into_iter().copied().collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        assert!(gradients(1024.0).iter().all(|gradient| gradient.is_finite()));
        assert!(gradients(1e9).iter().any(|gradient| !gradient.is_finite()));
        assert!(gradients(1e-9).iter().all(|&gradient| gradient == 0.0));
    }

    #[test]
    fn equal_logits_are_a_loss_of_the_logarithm_of_the_classes() {
        let (loss, gradient) = cross_entropy(Array2::from_elem((2, 4), 1e30), &[0, 3]);
        assert!((loss - 4.0_f32.ln()).abs() < 1e-6, "{loss}");
        assert_eq!(gradient.row(0).to_vec(), [-0.375, 0.125, 0.125, 0.125]);
    }

    #[test]
    fn accuracy_is_the_share_of_labels_with_the_largest_logit() {
        let (network, mut digits) = example();
        let (_, logits) = network.forward(&digits.images);
        digits.labels = logits.rows().into_iter().map(|row| argmax(&row)).collect();
        assert_eq!(network.accuracy(&digits), 1.0);
        digits.labels[0] = (digits.labels[0] + 1) % 3;
        assert_eq!(network.accuracy(&digits), 0.75);
    }
}
