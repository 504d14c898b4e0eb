//! The network: two fully connected layers, with a ReLU between them.

use crate::digits::{CLASSES, Digits, PIXELS, Random};
use crate::kernel::{Call, Kernel};
use crate::tensor::{Gradients, Parameter, Pool, Tensor};

const HIDDEN: usize = 64;

/// A fully connected layer: its parameters, and the kernels of linear.wgsl compiled for its shape.
struct Linear {
    inputs: usize,
    outputs: usize,
    weight: Parameter,
    bias: Parameter,
    forward: Kernel,
    backward_weight: Kernel,
    backward_bias: Kernel,
    backward_input: Kernel,
}

impl Linear {
    fn new(
        device: &wgpu::Device,
        pool: &mut Pool,
        name: &str,
        [inputs, outputs]: [usize; 2],
        relu: bool,
    ) -> Self {
        let module = device.create_shader_module(wgpu::include_wgsl!("linear.wgsl"));
        let overrides =
            [("INPUTS", inputs as f64), ("OUTPUTS", outputs as f64), ("RELU", relu.into())];
        let kernel = |entry_point| Kernel::new(device, &module, entry_point, &overrides);
        pool.next_layer();
        Self {
            inputs,
            outputs,
            weight: pool.parameter(format!("{name}.weight"), &[outputs, inputs]),
            bias: pool.parameter(format!("{name}.bias"), &[outputs]),
            forward: kernel("forward"),
            backward_weight: kernel("backward_weight"),
            backward_bias: kernel("backward_bias"),
            backward_input: kernel("backward_input"),
        }
    }

    /// He initialization (He et al. 2015), which preserves the variance through a ReLU. Biases stay
    /// 0.
    fn initialize(&self, queue: &wgpu::Queue, random: &mut Random) {
        let bound = (6.0 / self.inputs as f32).sqrt();
        let Tensor { buffer, offset, len } = &self.weight.value;
        let values: Vec<f32> = (0..*len).map(|_| random.uniform(bound)).collect();
        queue.write_buffer(buffer, *offset, bytemuck::cast_slice(&values));
    }

    fn forward(&self, device: &wgpu::Device, input: &Tensor, output: &Tensor) -> Call {
        let (weight, bias) = (&self.weight.value, &self.bias.value);
        let tensors = [(0, input), (1, weight), (2, bias), (3, output)];
        self.forward.call(device, output.len, &tensors)
    }

    /// Computes the gradients of the parameters.
    fn backward(
        &self,
        device: &wgpu::Device,
        input: &Tensor,
        output_gradient: &Tensor,
    ) -> [Call; 2] {
        let (weight, bias) = (&self.weight.gradient, &self.bias.gradient);
        let of_weight = [(0, input), (4, output_gradient), (5, weight)];
        let of_bias = [(4, output_gradient), (6, bias)];
        [
            self.backward_weight.call(device, weight.len, &of_weight),
            self.backward_bias.call(device, bias.len, &of_bias),
        ]
    }

    /// The layer's backward pass, made of these calls.
    fn backward_of(&self, calls: impl IntoIterator<Item = Call>) -> Backward {
        let parameters = [&self.weight, &self.bias].map(|parameter| parameter.name.clone());
        Backward { calls: calls.into_iter().collect(), parameters }
    }

    /// Computes the gradient of the input, which is the output of a ReLU.
    fn backward_input(
        &self,
        device: &wgpu::Device,
        input: &Tensor,
        output_gradient: &Tensor,
        input_gradient: &Tensor,
    ) -> Call {
        let weight = &self.weight.value;
        let tensors = [(0, input), (1, weight), (4, output_gradient), (7, input_gradient)];
        self.backward_input.call(device, input_gradient.len, &tensors)
    }
}

pub struct Network {
    hidden: Linear,
    output: Linear,
    cross_entropy: Kernel,
    /// Bytes of the parameters, and of the gradients.
    pub bytes: [u64; 2],
}

impl Network {
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        seed: u64,
        gradients: Gradients,
    ) -> Self {
        let layers = [[PIXELS * HIDDEN, HIDDEN], [HIDDEN * CLASSES, CLASSES]];
        let mut pool = Pool::new(device, &layers, gradients);
        let hidden = Linear::new(device, &mut pool, "hidden", [PIXELS, HIDDEN], true);
        let output = Linear::new(device, &mut pool, "output", [HIDDEN, CLASSES], false);
        let mut random = Random(seed);
        hidden.initialize(queue, &mut random);
        output.initialize(queue, &mut random);

        let module = device.create_shader_module(wgpu::include_wgsl!("cross_entropy.wgsl"));
        let overrides = [("CLASSES", CLASSES as f64)];
        let cross_entropy = Kernel::new(device, &module, "cross_entropy", &overrides);
        Self { hidden, output, cross_entropy, bytes: pool.bytes() }
    }

    pub fn weights(&self) -> [&Parameter; 2] {
        [&self.hidden.weight, &self.output.weight]
    }

    pub fn biases(&self) -> [&Parameter; 2] {
        [&self.hidden.bias, &self.output.bias]
    }

    /// Prepares the forward and backward passes over batches of this many digits.
    pub fn batch(&self, device: &wgpu::Device, rows: usize) -> Batch {
        // Each tensor has a buffer of its own: a kernel cannot bind one buffer both for reading and
        // for writing.
        let tensor = |label, columns| Tensor::new(device, label, rows * columns);
        let images = tensor("images of a batch", PIXELS);
        let labels = tensor("labels of a batch", 1);
        let hidden = tensor("hidden", self.hidden.outputs);
        let hidden_gradient = tensor("hidden gradient", self.hidden.outputs);
        let logits = tensor("logits", self.output.outputs);
        let logits_gradient = tensor("logits gradient", self.output.outputs);
        let scores = tensor("scores", 2);

        let of_loss = [(0, &logits), (1, &labels), (2, &logits_gradient), (3, &scores)];
        let forward = vec![
            self.hidden.forward(device, &images, &hidden),
            self.output.forward(device, &hidden, &logits),
            self.cross_entropy.call(device, rows, &of_loss),
        ];
        // The gradient of the input is the last to read the weights, which may be stepped then.
        let of_input =
            self.output.backward_input(device, &hidden, &logits_gradient, &hidden_gradient);
        let of_output = self.output.backward(device, &hidden, &logits_gradient);
        let of_hidden = self.hidden.backward(device, &images, &hidden_gradient);
        let backward = vec![
            self.output.backward_of(of_output.into_iter().chain([of_input])),
            self.hidden.backward_of(of_hidden),
        ];
        Batch { rows, images, labels, scores, forward, backward }
    }
}

/// The passes over a batch, ready to be recorded any number of times, with the tensors that they
/// use.
pub struct Batch {
    rows: usize,
    pub images: Tensor,
    pub labels: Tensor,
    /// For each row its loss, and 1 if it was classified correctly, summed since the last reset.
    pub scores: Tensor,
    forward: Vec<Call>,
    /// Of each layer, the last one first.
    pub backward: Vec<Backward>,
}

/// The backward pass of one layer.
pub struct Backward {
    calls: Vec<Call>,
    /// The parameters whose gradients it writes.
    pub parameters: [String; 2],
}

impl Backward {
    /// Records it: it writes gradients where the optimizer reads them.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.calls.iter().for_each(|call| call.record(pass));
    }
}

impl Batch {
    /// Copies the digits from `first` on, within GPU memory.
    pub fn load(&self, encoder: &mut wgpu::CommandEncoder, digits: &Digits, first: usize) {
        for (source, target) in [(&digits.images, &self.images), (&digits.labels, &self.labels)] {
            let row_bytes = (target.len / self.rows) as u64 * 4;
            let [offset, size] = [first, self.rows].map(|rows| rows as u64 * row_bytes);
            encoder.copy_buffer_to_buffer(&source.buffer, offset, &target.buffer, 0, size);
        }
    }

    /// Records the forward pass, including the loss.
    pub fn forward(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.forward.iter().for_each(|call| call.record(pass));
    }
}
