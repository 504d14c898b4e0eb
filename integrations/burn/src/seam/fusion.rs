//! Burn with fusion: a tensor is a name, which the fusion server turns into an allocation once the operations that
//! make it have run.
//!
//! Names are resolved all at once, by one operation of our own in the stream of operations. It takes each parameter's
//! allocation from the server's list, which shows whether the allocation has other owners, and puts it back under
//! the same name.

use super::{CubeTensor, Places, Tensors, burn_error, into_contiguous, owned, resources};
use crate::error::Error;
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::fusion::{CubeFusionHandle, FusionCubeRuntime};
use burn_fusion::FusionTensor;
use burn_fusion::custom::{
    CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr,
};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) type Primitive = FusionTensor<FusionCubeRuntime>;

/// Whether this is the tensor's only handle, on this thread's stream.
pub(super) fn is_unshared<const D: usize>(tensor: &Tensor<D>) -> bool {
    // Of a tensor of another thread, this thread would see a view under another name.
    let here = |tensor: Primitive| tensor.stream == StreamId::current();
    tensor.can_mut() && super::primitive(tensor.clone()).is_ok_and(here)
}

pub(super) fn copy<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.mul_scalar(1.0)
}

pub(super) fn places(tensors: Vec<Tensors>) -> Result<Vec<Places>, Error> {
    let client = tensors[0].param.client.clone();
    // What was asked before runs before, whatever order fusion would find.
    client.try_sync(|| ()).map_err(|error| burn_error(format!("{error:?}")))?;
    let names =
        tensors.into_iter().map(|Tensors { param, grad }| [param.into_ir(), grad.into_ir()]);
    let names: Vec<_> = names.collect();
    let operation = CustomOpIr::new("wgpu-optim", names.as_flattened(), &[]);
    let answer = Arc::new(Mutex::new(None));
    let resolve = {
        let answer = answer.clone();
        OperationFn(move |handles: &mut HandleContainer<CubeFusionHandle>| {
            *lock(&answer) = Some(resolve(&names, handles));
            Ok(())
        })
    };
    client.register(StreamId::current(), OperationIr::Custom(operation), resolve);
    client.try_sync(|| ()).map_err(|error| burn_error(format!("{error:?}")))?;
    let answer = lock(&answer).take();
    answer.unwrap_or_else(|| {
        Err(burn_error("an operation that the step needs has failed".to_owned()))
    })
}

/// Where the named tensors lie, every parameter in memory of its own.
fn resolve(
    names: &[[TensorIr; 2]],
    handles: &mut HandleContainer<CubeFusionHandle>,
) -> Result<Vec<Places>, Error> {
    let mut client = None;
    let mut allocations = Vec::with_capacity(names.len());
    for [param, grad] in names {
        let tensor = take(param, handles);
        client.get_or_insert_with(|| tensor.client.clone());
        let grad = into_contiguous(handles.get_float_tensor::<CubeBackend>(grad));
        allocations.push([tensor.handle, grad.handle]);
    }
    match client {
        Some(client) => resources(&client, allocations),
        None => Ok(Vec::new()),
    }
}

/// The parameter, in memory of its own from now on.
fn take(name: &TensorIr, handles: &mut HandleContainer<CubeFusionHandle>) -> CubeTensor {
    // A read-only handle would count as an owner.
    let sole = TensorIr { status: burn::backend::ir::TensorStatus::ReadWrite, ..name.clone() };
    let tensor = owned(handles.get_float_tensor::<CubeBackend>(&sole));
    handles.register_float_tensor::<CubeBackend>(&name.id, tensor.clone());
    tensor
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
