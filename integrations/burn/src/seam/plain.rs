//! Burn without fusion: a tensor is its allocation.

use super::{
    Client, CubeTensor, Handle, Places, Tensors, into_contiguous, owned, primitive, resources,
};
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

/// Allocations of a parameter and its gradient, which are asked for their places at the end: there is no server to look
/// for them meanwhile.
pub(crate) struct Answer {
    client: Client,
    handles: Vec<[Handle; 2]>,
}

pub(super) fn ask(tensors: Vec<Tensors>) -> Result<Answer, Error> {
    let client = tensors[0].grad.client.clone();
    let handles = |Tensors { param, grad }| [param.handle, into_contiguous(grad).handle];
    Ok(Answer { client, handles: tensors.into_iter().map(handles).collect() })
}

pub(super) fn places(answers: Vec<Answer>) -> Result<Vec<Places>, Error> {
    let client = answers.first().map(|answer| answer.client.clone());
    // Kernels that make gradients contiguous are launched before the first place is asked for.
    let handles = answers.into_iter().flat_map(|answer| answer.handles).collect();
    client.map_or(Ok(Vec::new()), |client| resources(&client, handles))
}
