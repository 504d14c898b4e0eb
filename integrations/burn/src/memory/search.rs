//! The search for the memory of many tensors.

#[cfg(feature = "fusion")]
use super::fusion as backend;
#[cfg(not(feature = "fusion"))]
use super::no_fusion as backend;

use super::allocation::{Allocations, Primitive};
use crate::error::Error;
use backend::Answer;
use burn::tensor::Tensor;

pub(crate) use backend::Name;

/// A parameter that no other handle of Burn's shares, itself or a copy; and its name, or what it is
/// instead. In other memory than before if `moves`.
pub(crate) fn unshared<const D: usize>(
    param: Tensor<D>,
    moves: bool,
) -> (Tensor<D>, Result<Name, String>) {
    match backend::name(&param, moves) {
        Ok((name, true)) => (param, Ok(name)),
        Ok((_, false)) => {
            let copy = backend::copy(param);
            let name = backend::name(&copy, false).map(|(name, _)| name);
            (copy, name)
        }
        Err(found) => (param, Err(found)),
    }
}

/// Tensors whose memory Burn is asked for at once: its server looks for it while the walk over the
/// module goes on.
const AT_ONCE: usize = 256;

/// A search for the memory of tensors of one device.
#[derive(Default)]
pub(crate) struct Search {
    /// Parameters with their gradients for which Burn was not asked yet.
    tensors: Vec<(Name, Primitive)>,
    answers: Vec<Answer>,
}

impl Search {
    /// Adds a parameter and its gradient.
    pub fn add(&mut self, param: Name, grad: Primitive) -> Result<(), Error> {
        self.tensors.push((param, grad));
        if self.tensors.len() == AT_ONCE {
            let tensors = std::mem::replace(&mut self.tensors, Vec::with_capacity(AT_ONCE));
            self.answers.push(backend::ask(tensors)?);
        }
        Ok(())
    }

    /// The memory of the tensors, in the order in which they were added, once all that Burn was
    /// asked to do with them is submitted.
    pub fn finish(mut self) -> Result<Vec<Allocations>, Error> {
        if !self.tensors.is_empty() {
            self.answers.push(backend::ask(self.tensors)?);
        }
        backend::receive(self.answers)
    }
}
