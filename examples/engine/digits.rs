//! The data: 1797 handwritten digits of 8×8 pixels.

use crate::tensor::Tensor;
use flate2::read::GzDecoder;
use std::error::Error;
use std::io::{BufRead, BufReader};

pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;
/// The size of the training set; all other digits are the test set.
const TRAINING: usize = 1500;

/// A line of the file: the pixels and the label.
type Digit = (Vec<f32>, u32);

/// Digits on the GPU.
pub struct Digits {
    pub images: Tensor,
    pub labels: Tensor,
    pub len: usize,
}

impl Digits {
    /// Uploads the training set and the test set.
    pub fn upload(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        seed: u64,
    ) -> Result<[Self; 2], Box<dyn Error>> {
        let mut digits = read()?;
        Random(seed).shuffle(&mut digits);
        let (training, test) = digits.split_at(TRAINING);
        Ok([Self::new(device, queue, training), Self::new(device, queue, test)])
    }

    fn new(device: &wgpu::Device, queue: &wgpu::Queue, digits: &[Digit]) -> Self {
        let len = digits.len();
        let images = Tensor::new(device, "images", len * PIXELS);
        let labels = Tensor::new(device, "labels", len);
        let pixels: Vec<f32> = digits.iter().flat_map(|(image, _)| image).copied().collect();
        let classes: Vec<u32> = digits.iter().map(|&(_, label)| label).collect();
        queue.write_buffer(&images.buffer, 0, bytemuck::cast_slice(&pixels));
        queue.write_buffer(&labels.buffer, 0, bytemuck::cast_slice(&classes));
        Self { images, labels, len }
    }
}

fn read() -> Result<Vec<Digit>, Box<dyn Error>> {
    let compressed: &[u8] = include_bytes!("../../data/digits.csv.gz");
    let lines = BufReader::new(GzDecoder::new(compressed)).lines();
    lines.map(|line| parse(&line?)).collect()
}

fn parse(line: &str) -> Result<Digit, Box<dyn Error>> {
    let numbers: Vec<u32> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let (label, pixels) = numbers.split_last().ok_or("an empty line")?;
    Ok((pixels.iter().map(|&pixel| pixel as f32 / 16.0).collect(), *label))
}

/// Reproducible random numbers: SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from −`bound` to `bound`.
    pub fn uniform(&mut self, bound: f32) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1 << 24) as f32;
        bound * (2.0 * unit - 1.0)
    }

    /// The Fisher-Yates shuffle.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}
