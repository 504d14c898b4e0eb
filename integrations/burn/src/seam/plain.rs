//! Burn without fusion: a tensor is its allocation.

use super::{CubeTensor, Places, Tensors, into_contiguous, owned, primitive, resources};
use crate::error::Error;
use burn::tensor::Tensor;
use burn_cubecl::Cube;

pub(crate) type Primitive = CubeTensor;

/// A tensor's allocation.
pub(crate) type Name = CubeTensor;

/// The tensor's allocation, and whether it will do: it need not move, nobody else sees it and its elements lie one after
/// the other.
pub(super) fn name<const D: usize>(tensor: &Tensor<D>, anew: bool) -> Result<(Name, bool), String> {
    let sole = tensor.can_mut();
    let tensor = primitive(tensor.clone())?;
    // A tiled tensor's strides order tiles, not elements.
    let plain = !tensor.meta.is_tiled() && tensor.is_contiguous();
    Ok((tensor, !anew && sole && plain))
}

pub(super) fn copy<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match primitive(tensor.clone()) {
        Ok(tensor) => Tensor::from_primitive::<Cube>(owned(tensor)),
        Err(_) => tensor,
    }
}

pub(super) fn places(tensors: Vec<Tensors>) -> Result<Vec<Places>, Error> {
    let client = tensors[0].grad.client.clone();
    let handles = tensors
        .into_iter()
        .map(|Tensors { param, grad }| [param.handle, into_contiguous(grad).handle]);
    // Kernels that make gradients contiguous are launched before the first place is asked for.
    resources(&client, handles.collect())
}
