//! Two convolutions and a layer.

use crate::data::{Batch, CLASSES, SIDE};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

const CHANNELS: [usize; 2] = [8, 16];

#[derive(Module, Debug)]
pub struct Network {
    first: Conv2d,
    second: Conv2d,
    output: Linear,
}

impl Network {
    pub fn new(device: &Device) -> Self {
        device.seed(7);
        let same = PaddingConfig2d::Same;
        let conv = |from, to| Conv2dConfig::new([from, to], [3, 3]).with_padding(same.clone());
        Self {
            first: conv(1, CHANNELS[0]).init(device),
            second: conv(CHANNELS[0], CHANNELS[1]).init(device),
            output: LinearConfig::new(CHANNELS[1] * SIDE * SIDE, CLASSES).init(device),
        }
    }

    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let hidden = relu(self.first.forward(images));
        let hidden = relu(self.second.forward(hidden));
        self.output.forward(hidden.flatten(1, 3))
    }

    pub fn loss(&self, batch: &Batch) -> Tensor<1> {
        let logits = self.logits(batch.images.clone());
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, batch.labels.clone())
    }

    pub fn accuracy(&self, batch: &Batch) -> f32 {
        let answers = self.logits(batch.images.clone()).argmax(1).flatten::<1>(0, 1);
        answers.equal(batch.labels.clone()).float().mean().into_scalar()
    }

    pub fn device(&self) -> Device {
        self.output.weight.device()
    }
}
