//! The data: 1797 handwritten digits of 8×8 pixels, which the program contains.

use crate::random::Random;
use flate2::read::GzDecoder;
use ndarray::{Array2, Axis};
use std::io::Read;

/// Pixels of an image: the network's inputs.
pub const PIXELS: usize = 64;
/// Classes of digits: the network's outputs.
pub const CLASSES: usize = 10;
/// Digits to train on; the rest of the 1797 are for testing.
pub const TRAIN_DIGITS: usize = 1500;

const CSV: &[u8] = include_bytes!("../../data/digits.csv.gz");
const BRIGHTEST_PIXEL: f32 = 16.0;

/// Images with their labels.
pub struct Digits {
    /// A row for each image, with pixels from 0 to 1.
    pub images: Array2<f32>,
    /// The digit that each image shows.
    pub labels: Vec<usize>,
}

impl Digits {
    /// The training set and the test set, split at random.
    pub fn load(random: &mut Random) -> Result<(Self, Self), String> {
        let mut csv = String::new();
        GzDecoder::new(CSV)
            .read_to_string(&mut csv)
            .map_err(|error| format!("data/digits.csv.gz is damaged ({error}): restore it"))?;
        let all = Self::parse(&csv)?;
        let mut order: Vec<usize> = (0..all.len()).collect();
        random.shuffle(&mut order);
        let (train, test) = order
            .split_at_checked(TRAIN_DIGITS)
            .ok_or("data/digits.csv.gz has too few lines: restore it")?;
        Ok((all.select(train), all.select(test)))
    }

    /// A line for each digit: 64 pixels from 0 to 16, and the label.
    fn parse(csv: &str) -> Result<Self, String> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (index, line) in csv.lines().enumerate() {
            let problem = |what| format!("data/digits.csv.gz, line {}: {what}", index + 1);
            let numbers: Vec<u8> = line
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| problem("a field is not a number from 0 to 255"))?;
            match numbers.split_last() {
                Some((&label, image)) if image.len() == PIXELS && usize::from(label) < CLASSES => {
                    pixels.extend(image.iter().map(|&pixel| f32::from(pixel) / BRIGHTEST_PIXEL));
                    labels.push(label.into());
                }
                _ => return Err(problem("not 64 pixels and a label from 0 to 9")),
            }
        }
        let images = Array2::from_shape_vec((labels.len(), PIXELS), pixels)
            .map_err(|error| error.to_string())?;
        Ok(Self { images, labels })
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The digits at these indices.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            images: self.images.select(Axis(0), indices),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_for_training_or_for_testing() {
        let (train, test) = Digits::load(&mut Random::new(0)).unwrap();
        assert_eq!((train.images.dim(), train.labels.len()), ((1500, PIXELS), 1500));
        assert_eq!((test.images.dim(), test.labels.len()), ((297, PIXELS), 297));
        assert!(train.images.iter().chain(&test.images).all(|pixel| (0.0..=1.0).contains(pixel)));
    }

    #[test]
    fn a_line_is_pixels_and_a_label() {
        let line = "8,".repeat(PIXELS) + "3";
        let digits = Digits::parse(&format!("{line}\n{line}\n")).unwrap();
        assert_eq!(digits.labels, [3, 3]);
        assert!(digits.images.iter().all(|&pixel| pixel == 0.5));
    }

    #[test]
    fn a_wrong_line_is_refused_by_its_number() {
        let good = "8,".repeat(PIXELS) + "3";
        for bad in ["", "1,2,3", "x", &("8,".repeat(PIXELS) + "10")] {
            let error = Digits::parse(&format!("{good}\n{bad}\n")).err().unwrap();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
