//! Burn without fusion: a tensor is its allocation.

use super::{CubeTensor, Places, Tensors, into_contiguous, owned, primitive, resources};
use crate::error::Error;
use burn::tensor::Tensor;
use burn_cubecl::Cube;

pub(crate) type Primitive = CubeTensor;

/// Whether nobody else sees the tensor's memory and its elements lie one after the other.
pub(super) fn is_unshared<const D: usize>(tensor: &Tensor<D>) -> bool {
    // A tiled tensor's strides order tiles, not elements.
    let plain = |tensor: CubeTensor| !tensor.meta.is_tiled() && tensor.is_contiguous();
    tensor.can_mut() && primitive(tensor.clone()).is_ok_and(plain)
}

pub(super) fn copy<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match primitive(tensor.clone()) {
        Ok(tensor) => Tensor::from_primitive::<Cube>(owned(tensor)),
        Err(_) => tensor,
    }
}

pub(super) fn places(tensors: Vec<Tensors>) -> Result<Vec<Places>, Error> {
    let client = tensors[0].param.client.clone();
    let handles = tensors
        .into_iter()
        .map(|Tensors { param, grad }| [param.handle, into_contiguous(grad).handle]);
    // Kernels that make gradients contiguous are launched before the first place is asked for.
    resources(&client, handles.collect())
}
