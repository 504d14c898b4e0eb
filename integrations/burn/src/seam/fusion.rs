//! Burn with fusion: a tensor is a name, which the fusion server turns into an allocation once the operations that
//! make it have run.
//!
//! Names are resolved many at once, by operations of our own in the stream of operations. They see in the server's list
//! whether a parameter's allocation has other owners, and put a copy there under the same name if it has, or if the parameter
//! is to move anyway.

use super::{Handle, Places, Tensors, burn_error, into_contiguous, owned, resources};
use crate::error::Error;
use burn::backend::ir::TensorStatus;
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::std::tensor::is_contiguous;
use burn_cubecl::fusion::{CubeFusionHandle, FusionCubeRuntime};
use burn_fusion::FusionTensor;
use burn_fusion::client::GlobalFusionClient;
use burn_fusion::custom::{
    CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr,
};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) type Primitive = FusionTensor<FusionCubeRuntime>;

/// A parameter's name: good as long as the tensor lives.
pub(crate) struct Name {
    tensor: TensorIr,
    /// It moves, even if nobody shares its memory.
    anew: bool,
}

/// The tensor's name, and whether this is its only handle, on this thread's stream.
pub(super) fn name<const D: usize>(tensor: &Tensor<D>, anew: bool) -> Result<(Name, bool), String> {
    let sole = tensor.can_mut();
    let tensor = super::primitive(tensor.clone())?;
    // Of a tensor of another thread, this thread would see a view under another name.
    let here = tensor.stream == StreamId::current();
    // A read-only name would count as an owner.
    let tensor = TensorIr { status: TensorStatus::ReadWrite, ..tensor.to_ir_out() };
    Ok((Name { tensor, anew }, sole && here))
}

pub(super) fn copy<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.mul_scalar(1.0)
}

/// What an operation of ours finds, once it has run.
pub(crate) struct Answer {
    client: GlobalFusionClient<FusionCubeRuntime>,
    places: Arc<Mutex<Found>>,
}

type Found = Option<Result<Vec<Places>, Error>>;

pub(super) fn ask(tensors: Vec<Tensors>) -> Result<Answer, Error> {
    let client = tensors[0].grad.client.clone();
    // What was asked before runs before, whatever order fusion would find.
    drain(&client)?;
    let (params, grads): (Vec<_>, Vec<_>) =
        tensors.into_iter().map(|Tensors { param, grad }| (param, grad.into_ir())).unzip();
    // The parameters outlive the operation, and all that makes them has run: only the gradients, which it is
    // the last to use, need to be told.
    let operation = CustomOpIr::new("wgpu-optim", &grads, &[]);
    let places = Arc::new(Mutex::new(None));
    let resolve = {
        let places = places.clone();
        OperationFn(move |handles: &mut HandleContainer<CubeFusionHandle>| {
            *lock(&places) = Some(resolve(&params, &grads, handles));
            Ok(())
        })
    };
    client.register(StreamId::current(), OperationIr::Custom(operation), resolve);
    client.flush_queue();
    Ok(Answer { client, places })
}

pub(super) fn places(answers: Vec<Answer>) -> Result<Vec<Places>, Error> {
    if let Some(last) = answers.last() {
        drain(&last.client)?;
    }
    let places = |answer: Answer| {
        let failed = || burn_error("an operation that the step needs has failed".to_owned());
        lock(&answer.places).take().ok_or_else(failed)?
    };
    let places: Vec<_> = answers.into_iter().map(places).collect::<Result<_, _>>()?;
    Ok(places.into_iter().flatten().collect())
}

/// Waits until Burn's server has launched all that this thread asked for.
fn drain(client: &GlobalFusionClient<FusionCubeRuntime>) -> Result<(), Error> {
    client.try_sync(|| ()).map_err(|error| burn_error(format!("{error:?}")))
}

/// Where the named tensors lie, every parameter in memory of its own.
fn resolve(
    params: &[Name],
    grads: &[TensorIr],
    handles: &mut HandleContainer<CubeFusionHandle>,
) -> Result<Vec<Places>, Error> {
    let mut allocations = Vec::with_capacity(params.len());
    for (param, grad) in params.iter().zip(grads) {
        allocations.push([parameter(param, handles), gradient(grad, handles)]);
    }
    let any = handles.get_handle_ref(&params[0].tensor.id).map(|known| known.client.clone());
    let client = any.ok_or_else(|| burn_error("a parameter has no memory".to_owned()))?;
    resources(&client, allocations)
}

/// The parameter's memory, which is its own from now on.
fn parameter(name: &Name, handles: &mut HandleContainer<CubeFusionHandle>) -> Handle {
    let Name { tensor: name, anew } = name;
    let known = contiguous(name, handles).filter(|handle| !anew && handle.can_mut());
    if let Some(known) = known {
        return known.clone();
    }
    let tensor = handles.get_float_tensor::<CubeBackend>(name);
    let tensor = owned(if *anew { tensor.copy() } else { tensor });
    handles.register_float_tensor::<CubeBackend>(&name.id, tensor.clone());
    tensor.handle
}

/// The gradient's memory, which the operation's end frees if this was the last use.
fn gradient(name: &TensorIr, handles: &mut HandleContainer<CubeFusionHandle>) -> Handle {
    if let Some(known) = contiguous(name, handles) {
        return known.clone();
    }
    into_contiguous(handles.get_float_tensor::<CubeBackend>(name)).handle
}

/// A tensor's memory, if its elements lie one after the other.
fn contiguous<'a>(
    name: &TensorIr,
    handles: &'a HandleContainer<CubeFusionHandle>,
) -> Option<&'a Handle> {
    let known = handles.get_handle_ref(&name.id)?;
    let contiguous = known.tiles.is_none() && is_contiguous(&name.shape, &known.strides);
    contiguous.then_some(&known.handle)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
