//! Parameters as callers describe them, and as an optimizer lists them.

use crate::error::Error;
use crate::model::names::ParamId;
use crate::model::storage::Storage;

/// The most elements of a parameter: 1 TiB of f32, more than any device holds, or as many f64 as a
/// host of 32 bits addresses.
const MAX_ELEMENTS: usize = if usize::BITS > 38 { 1_u64 << 38 } else { (1 << 28) - 1 } as usize;

/// A tensor's shape: its sizes along each dimension, outermost first, as in PyTorch.
///
/// Made from a number of elements, or from an array, slice or vector of sizes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape(Box<[usize]>);

impl Shape {
    /// The sizes.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// The number of elements, unless it is beyond `usize`.
    pub fn elements(&self) -> Option<usize> {
        self.0.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
    }
}

impl From<usize> for Shape {
    fn from(elements: usize) -> Self {
        Self(Box::new([elements]))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Self(Box::new(sizes))
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Self(sizes.into())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Self(sizes.into())
    }
}

/// A parameter: one named tensor of the model, with its gradient. `P` is how an engine tells where
/// it is, if the caller keeps it.
#[derive(Debug, Clone)]
pub struct Param<P> {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) place: Option<P>,
    pub(crate) storage: Option<Storage>,
}

impl<P> Param<P> {
    /// A parameter of this shape: `Param::new("w", [128, 784])`, or of so many elements,
    /// `Param::new("w", 100_352)`. Its name must be unique in the optimizer.
    pub fn new(name: impl Into<String>, shape: impl Into<Shape>) -> Self {
        Self { name: name.into(), shape: shape.into(), place: None, storage: None }
    }

    /// How it is stored, with its gradient and states, whatever
    /// [`Builder::storage`](crate::optimizer::Builder::storage) says. By default in f32.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Its number of elements.
    ///
    /// # Errors
    /// It is more than any device holds.
    pub(crate) fn elements(&self) -> Result<usize, Error> {
        self.shape.elements().filter(|&elements| elements <= MAX_ELEMENTS).ok_or_else(|| {
            Error::parameter(
                &self.name,
                format!("a shape of at most {MAX_ELEMENTS} elements"),
                format!("{:?}", self.shape.sizes()),
                "Correct the shape, or divide the tensor among devices",
            )
        })
    }
}

impl<P, N: Into<String>, S: Into<Shape>> From<(N, S)> for Param<P> {
    fn from((name, shape): (N, S)) -> Self {
        Self::new(name, shape)
    }
}

/// What an optimizer knows of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ParamInfo<'a> {
    /// Its handle.
    pub id: ParamId,
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a Shape,
    /// Its number of elements.
    pub elements: usize,
    /// The index of its group.
    pub group: usize,
    /// Steps taken; `None` where only the GPU knows, because it may have skipped some:
    /// [`read_steps`](crate::Optimizer::read_steps) asks it.
    pub steps: Option<u64>,
    /// Whether steps leave it alone.
    pub is_frozen: bool,
}
