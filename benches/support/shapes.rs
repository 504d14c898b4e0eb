//! Sets of tensors to step: plain ones, and those of real models.

/// The sizes of a model's tensors.
#[derive(Clone, PartialEq)]
pub struct Shape {
    /// The name in records, such as `1x16M` or `1000x4096`.
    pub name: String,
    /// Elements of each tensor.
    pub tensors: Vec<usize>,
}

impl Shape {
    pub fn one(elements: usize) -> Self {
        Self { name: format!("1x{}", short(elements)), tensors: vec![elements] }
    }

    pub fn many(count: usize, len: usize) -> Self {
        Self { name: format!("{count}x{len}"), tensors: vec![len; count] }
    }

    fn model(name: &str, tensors: Vec<usize>) -> Self {
        Self { name: name.into(), tensors }
    }

    pub fn elements(&self) -> usize {
        self.tensors.iter().sum()
    }

    /// A few small tensors instead, for a run that only shows that it works.
    pub fn shrunk(&self) -> Self {
        let tensors = self.tensors.iter().take(8).map(|&len| len.min(516)).collect();
        Self { name: self.name.clone(), tensors }
    }
}

/// A number of elements with a unit, as in `torch_step.py`: 1K, 16M, 1G.
fn short(elements: usize) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let unit = units.iter().find(|(size, _)| elements.is_multiple_of(*size));
    unit.map_or(elements.to_string(), |(size, letter)| format!("{}{letter}", elements / size))
}

/// GPT-2 124M (Radford et al. 2019), its output layer tied to the embedding.
pub fn gpt2() -> Shape {
    const WIDTH: usize = 768;
    let mut tensors = vec![50257 * WIDTH, 1024 * WIDTH];
    for _ in 0..12 {
        tensors.extend([WIDTH, WIDTH]); // layer norm
        tensors.extend([3 * WIDTH * WIDTH, 3 * WIDTH, WIDTH * WIDTH, WIDTH]); // attention
        tensors.extend([WIDTH, WIDTH]);
        tensors.extend([4 * WIDTH * WIDTH, 4 * WIDTH, 4 * WIDTH * WIDTH, WIDTH]); // perceptron
    }
    tensors.extend([WIDTH, WIDTH]);
    assert_eq!(tensors.iter().sum::<usize>(), 124_439_808);
    Shape::model("GPT-2 124M", tensors)
}

/// ResNet-50 (He et al. 2016) for ImageNet.
pub fn resnet50() -> Shape {
    let mut tensors = Vec::new();
    let mut convolution = |from: usize, to: usize, side: usize| {
        tensors.extend([from * to * side * side, to, to]); // weights; scale and shift of the norm
    };
    convolution(3, 64, 7);
    let mut from = 64;
    for (width, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        for block in 0..blocks {
            convolution(from, width, 1);
            convolution(width, width, 3);
            convolution(width, 4 * width, 1);
            if block == 0 {
                convolution(from, 4 * width, 1);
            }
            from = 4 * width;
        }
    }
    tensors.extend([1000 * from, 1000]);
    assert_eq!(tensors.iter().sum::<usize>(), 25_557_032);
    Shape::model("ResNet-50", tensors)
}

/// A Llama-like model of 1.1 B (the shapes of TinyLlama, Zhang et al. 2024).
pub fn llama() -> Shape {
    const WIDTH: usize = 2048;
    const KEYS: usize = 256;
    const HIDDEN: usize = 5632;
    const VOCABULARY: usize = 32000;
    let mut tensors = vec![VOCABULARY * WIDTH];
    for _ in 0..22 {
        tensors.extend([WIDTH * WIDTH, KEYS * WIDTH, KEYS * WIDTH, WIDTH * WIDTH]); // attention
        tensors.extend([HIDDEN * WIDTH; 3]); // gate, up, down
        tensors.extend([WIDTH, WIDTH]); // norms
    }
    tensors.extend([WIDTH, VOCABULARY * WIDTH]);
    assert_eq!(tensors.iter().sum::<usize>(), 1_100_048_384);
    Shape::model("Llama-like 1.1B", tensors)
}
