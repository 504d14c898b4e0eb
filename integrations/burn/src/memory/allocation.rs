//! Allocations of tensors, and the buffers that they are in.

use crate::error::Error;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn_cubecl::Cube;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuResource, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use wgpu_optim::{Place, Slice};

/// A tensor as Burn's backend holds it.
pub(crate) type Primitive = FloatTensor<Cube>;

/// The tensor's primitive, or an error that says what it is instead.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> Result<Primitive, String> {
    tensor.try_into_primitive::<Cube>().map_err(|error| format!("{error:?}"))
}

/// A tensor's memory. While this value exists, Burn neither moves the allocation nor gives it to
/// another tensor.
pub(crate) struct Allocation(ManagedResource);

type ManagedResource = cubecl_runtime::storage::ManagedResource<WgpuResource>;

impl Allocation {
    /// Where it is.
    pub fn slice(&self) -> Slice {
        let WgpuResource { buffer, offset, .. } = self.0.resource();
        (buffer, *offset).into()
    }
}

/// A parameter's and its gradient's memory.
pub(crate) struct Allocations {
    pub param: Allocation,
    pub grad: Allocation,
}

impl Allocations {
    /// Where they are.
    pub fn place(&self) -> Place {
        Place::new(self.param.slice(), self.grad.slice())
    }
}

/// The tensor in contiguous memory of its own.
pub(super) fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// The memory of parameters and gradients. Submits what is pending on it.
pub(super) fn allocations(
    client: &Client,
    handles: Vec<[Handle; 2]>,
) -> Result<Vec<Allocations>, Error> {
    let one = |handle| client.get_resource::<WgpuServer<AutoCompiler>>(handle).map(Allocation);
    // Exclusively: otherwise each call would wait separately for access to the device.
    let all = client.exclusive(|| {
        let pair =
            |[param, grad]: [Handle; 2]| Ok(Allocations { param: one(param)?, grad: one(grad)? });
        handles.into_iter().map(pair).collect::<Result<Vec<_>, _>>()
    });
    all.and_then(|all| all).map_err(|error| burn_error(format!("{error:?}")))
}

pub(super) fn burn_error(message: String) -> Error {
    Error::Burn { during: "giving the memory of the parameters and gradients", message }
}
