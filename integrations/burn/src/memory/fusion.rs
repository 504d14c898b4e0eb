//! Burn with fusion: a tensor is a name, for which the fusion server has an allocation once the
//! operations that make the tensor have run.
//!
//! Names are resolved many at once, by operations of our own in the stream of operations. They see
//! in the server's list whether a parameter's allocation has other owners. If it has, or if the
//! parameter is to move anyway, they register a copy under the same name.

use super::allocation::{Allocations, Primitive, allocations, burn_error, owned, primitive};
use crate::error::Error;
use burn::backend::ir::TensorStatus;
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::cubecl::std::tensor::is_contiguous;
use burn_cubecl::fusion::{CubeFusionHandle, FusionCubeRuntime};
use burn_cubecl::kernel::into_contiguous;
use burn_fusion::client::GlobalFusionClient;
use burn_fusion::custom::{
    CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A parameter's name: valid as long as the tensor exists.
pub(crate) struct Name {
    tensor: TensorIr,
    /// It moves, even if nobody shares its memory.
    moves: bool,
}

/// The tensor's name, and whether this is its only handle, on this thread's stream.
pub(super) fn name<const D: usize>(
    tensor: &Tensor<D>,
    moves: bool,
) -> Result<(Name, bool), String> {
    let sole = tensor.can_mut();
    let tensor = primitive(tensor.clone())?;
    // Of a tensor of another thread, this thread would see a view under another name.
    let here = tensor.stream == StreamId::current();
    // A read-only name would count as an owner.
    let tensor = TensorIr { status: TensorStatus::ReadWrite, ..tensor.to_ir_out() };
    Ok((Name { tensor, moves }, sole && here))
}

pub(super) fn copy<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.mul_scalar(1.0)
}

/// What an operation of ours finds, once it has run.
pub(crate) struct Answer {
    client: GlobalFusionClient<FusionCubeRuntime>,
    found: Arc<Mutex<Found>>,
}

type Found = Option<Result<Vec<Allocations>, Error>>;

pub(super) fn ask(tensors: Vec<(Name, Primitive)>) -> Result<Answer, Error> {
    let client = tensors[0].1.client.clone();
    // What was asked before runs before, whatever order fusion would choose.
    drain(&client)?;
    let (params, grads): (Vec<_>, Vec<_>) =
        tensors.into_iter().map(|(param, grad)| (param, grad.into_ir())).unzip();
    // The parameters outlive the operation, and all that makes them has run. Only the gradients
    // are declared, since the operation is the last to use them.
    let operation = CustomOpIr::new("wgpu-optim", &grads, &[]);
    let found = Arc::new(Mutex::new(None));
    let resolve = {
        let found = found.clone();
        OperationFn(move |handles: &mut HandleContainer<CubeFusionHandle>| {
            *lock(&found) = Some(resolve(&params, &grads, handles));
            Ok(())
        })
    };
    client.register(StreamId::current(), OperationIr::Custom(operation), resolve);
    client.flush_queue();
    Ok(Answer { client, found })
}

pub(super) fn receive(answers: Vec<Answer>) -> Result<Vec<Allocations>, Error> {
    if let Some(last) = answers.last() {
        drain(&last.client)?;
    }
    let found = |answer: Answer| {
        let failed = || burn_error("an operation that the step needs has failed".to_owned());
        lock(&answer.found).take().ok_or_else(failed)?
    };
    let found: Vec<_> = answers.into_iter().map(found).collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Waits until Burn's server has launched all that this thread asked for.
fn drain(client: &GlobalFusionClient<FusionCubeRuntime>) -> Result<(), Error> {
    client.try_sync(|| ()).map_err(|error| burn_error(format!("{error:?}")))
}

/// The memory of the named tensors, each parameter's its own.
fn resolve(
    params: &[Name],
    grads: &[TensorIr],
    handles: &mut HandleContainer<CubeFusionHandle>,
) -> Result<Vec<Allocations>, Error> {
    let mut found = Vec::with_capacity(params.len());
    for (param, grad) in params.iter().zip(grads) {
        found.push([parameter(param, handles), gradient(grad, handles)]);
    }
    let any = handles.get_handle_ref(&params[0].tensor.id).map(|known| known.client.clone());
    let client = any.ok_or_else(|| burn_error("a parameter has no memory".to_owned()))?;
    allocations(&client, found)
}

/// The parameter's memory, which is its own from now on.
fn parameter(name: &Name, handles: &mut HandleContainer<CubeFusionHandle>) -> Handle {
    let Name { tensor: name, moves } = name;
    let known = contiguous(name, handles).filter(|handle| !moves && handle.can_mut());
    if let Some(known) = known {
        return known.clone();
    }
    let tensor = handles.get_float_tensor::<CubeBackend>(name);
    let tensor = owned(if *moves { tensor.copy() } else { tensor });
    handles.register_float_tensor::<CubeBackend>(&name.id, tensor.clone());
    tensor.handle
}

/// The gradient's memory, which the end of the operation frees if this was the last use.
fn gradient(name: &TensorIr, handles: &mut HandleContainer<CubeFusionHandle>) -> Handle {
    if let Some(known) = contiguous(name, handles) {
        return known.clone();
    }
    into_contiguous(handles.get_float_tensor::<CubeBackend>(name)).handle
}

/// A tensor's memory, if its elements are stored one after the other.
fn contiguous<'a>(
    name: &TensorIr,
    handles: &'a HandleContainer<CubeFusionHandle>,
) -> Option<&'a Handle> {
    let known = handles.get_handle_ref(&name.id)?;
    let contiguous = known.tiles.is_none() && is_contiguous(&name.shape, &known.strides);
    contiguous.then_some(&known.handle)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
