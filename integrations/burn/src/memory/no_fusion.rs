//! Burn without fusion: a tensor is its allocation.

use super::allocation::{Allocations, Primitive, allocations, owned, primitive};
use crate::error::Error;
use burn::tensor::Tensor;
use burn_cubecl::Cube;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::kernel::into_contiguous;

/// A tensor's allocation.
pub(crate) type Name = Primitive;

/// The tensor's allocation, and whether it can be updated in place: it need not move, nobody else
/// sees it, and its elements are stored one after the other.
pub(super) fn name<const D: usize>(
    tensor: &Tensor<D>,
    moves: bool,
) -> Result<(Name, bool), String> {
    let sole = tensor.can_mut();
    let tensor = primitive(tensor.clone())?;
    // A tiled tensor's strides order tiles, not elements.
    let plain = !tensor.meta.is_tiled() && tensor.is_contiguous();
    Ok((tensor, !moves && sole && plain))
}

pub(super) fn copy<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match primitive(tensor.clone()) {
        Ok(tensor) => Tensor::from_primitive::<Cube>(owned(tensor)),
        Err(_) => tensor,
    }
}

/// Handles of parameters and gradients. Their memory is asked for at the end: there is no server
/// that could look for it meanwhile.
pub(crate) struct Answer {
    client: Client,
    handles: Vec<[Handle; 2]>,
}

pub(super) fn ask(tensors: Vec<(Name, Primitive)>) -> Result<Answer, Error> {
    let client = tensors[0].1.client.clone();
    let handles = |(param, grad): (Name, Primitive)| [param.handle, into_contiguous(grad).handle];
    Ok(Answer { client, handles: tensors.into_iter().map(handles).collect() })
}

pub(super) fn receive(answers: Vec<Answer>) -> Result<Vec<Allocations>, Error> {
    let client = answers.first().map(|answer| answer.client.clone());
    // Kernels that make gradients contiguous are launched before any memory is asked for.
    let handles = answers.into_iter().flat_map(|answer| answer.handles).collect();
    client.map_or(Ok(Vec::new()), |client| allocations(&client, handles))
}
