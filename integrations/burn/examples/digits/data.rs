//! 1797 handwritten digits of 8×8 pixels, part of this program.

use burn::tensor::{Device, Int, Tensor, TensorData};
use miniz_oxide::inflate::decompress_slice_iter_to_slice;

pub const SIDE: usize = 8;
pub const CLASSES: usize = 10;

const CSV: &[u8] = include_bytes!("../../../../data/digits.csv.gz");
const PIXELS: usize = SIDE * SIDE;
const BRIGHTEST_PIXEL: f32 = 16.0;
/// Digits to train on; the others test.
const TRAIN_DIGITS: usize = 1472;

/// Images with their labels.
#[derive(Clone)]
pub struct Batch {
    pub images: Tensor<4>,
    pub labels: Tensor<1, Int>,
}

pub struct Digits {
    images: Vec<[f32; PIXELS]>,
    labels: Vec<i32>,
    pub test: Batch,
    device: Device,
}

impl Digits {
    pub fn load(device: &Device) -> Result<Self, String> {
        let csv = unpacked().ok_or("data/digits.csv.gz is damaged: restore it")?;
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for line in csv.lines() {
            let numbers: Vec<u8> =
                line.split(',').filter_map(|number| number.parse().ok()).collect();
            let [pixels @ .., label] = numbers.as_slice() else { continue };
            let pixels: [u8; PIXELS] = pixels.try_into().map_err(|_| "a line without 64 pixels")?;
            images.push(pixels.map(|pixel| f32::from(pixel) / BRIGHTEST_PIXEL));
            labels.push(i32::from(*label));
        }
        let test: Vec<_> = (TRAIN_DIGITS..images.len()).collect();
        let test = batch(&images, &labels, &test, device);
        Ok(Self { images, labels, test, device: device.clone() })
    }

    /// The training set in an order that only depends on the epoch.
    pub fn batches(&self, epoch: usize, size: usize) -> impl Iterator<Item = Batch> {
        let mut order: Vec<_> = (0..TRAIN_DIGITS).collect();
        // By a hash of the index, which shuffles well enough here.
        order
            .sort_by_key(|&index| ((index + 1) * (2 * epoch + 1)).wrapping_mul(2654435761) % 65537);
        let chunks: Vec<Vec<_>> = order.chunks_exact(size).map(<[_]>::to_vec).collect();
        chunks.into_iter().map(|chunk| batch(&self.images, &self.labels, &chunk, &self.device))
    }
}

/// The text in a gzip file without optional fields but the file's name.
fn unpacked() -> Option<String> {
    const HEADER: usize = 10;
    const FLAGS: usize = 3;
    const NAME: u8 = 8;
    const TRAILER: usize = 8;
    let packed = CSV.get(HEADER..CSV.len() - TRAILER)?;
    let name = match CSV[FLAGS] {
        0 => 0,
        NAME => packed.iter().position(|&byte| byte == 0)? + 1,
        _ => return None,
    };
    // The file ends with the length of its text.
    let len = u32::from_le_bytes(CSV.last_chunk().copied()?) as usize;
    let mut text = vec![0; len];
    let packed = std::iter::once(&packed[name..]);
    let found = decompress_slice_iter_to_slice(&mut text, packed, false, true).ok()?;
    if found == len { String::from_utf8(text).ok() } else { None }
}

fn batch(images: &[[f32; PIXELS]], labels: &[i32], chosen: &[usize], device: &Device) -> Batch {
    let pixels: Vec<f32> = chosen.iter().flat_map(|&index| images[index]).collect();
    let labels: Vec<i32> = chosen.iter().map(|&index| labels[index]).collect();
    let shape = [chosen.len(), 1, SIDE, SIDE];
    Batch {
        images: Tensor::from_data(TensorData::new(pixels, shape), device),
        labels: Tensor::from_data(TensorData::new(labels, [chosen.len()]), device),
    }
}
