//! The seam: from Burn's tensors to the wgpu buffers that hold them.
//!
//! A step changes a parameter's bytes where they lie, which is allowed only if nobody else can see them. Burn counts
//! owners at two levels, of a tensor and of an allocation; where either count is above one, the parameter
//! moves into memory of its own first, and the others keep the old.

#[cfg(feature = "fusion")]
mod fusion;
#[cfg(not(feature = "fusion"))]
mod plain;

#[cfg(feature = "fusion")]
use fusion as backend;
#[cfg(not(feature = "fusion"))]
use plain as backend;

use crate::error::Error;
use burn::tensor::Tensor;
use burn_cubecl::Cube;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuResource, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

pub(crate) use backend::{Answer, Name, Primitive};

/// A parameter with its gradient, as Burn holds them.
pub(crate) struct Tensors {
    pub param: Name,
    pub grad: Primitive,
}

/// Where a tensor lies. Its allocation stays where it is, and is not given to others, while this lives.
pub(crate) struct Place(ManagedResource);

type ManagedResource = cubecl_runtime::storage::ManagedResource<WgpuResource>;

impl Place {
    pub fn buffer(&self) -> &wgpu_optim::wgpu::Buffer {
        &self.0.resource().buffer
    }

    pub fn offset(&self) -> u64 {
        self.0.resource().offset
    }
}

/// A parameter's and its gradient's places.
pub(crate) struct Places {
    pub param: Place,
    pub grad: Place,
}

/// A parameter that no other handle of Burn's shares, itself or a copy; and its name, or what it is instead. In other
/// memory than before if `anew`.
pub(crate) fn unshared<const D: usize>(
    param: Tensor<D>,
    anew: bool,
) -> (Tensor<D>, Result<Name, String>) {
    match backend::name(&param, anew) {
        Ok((name, true)) => (param, Ok(name)),
        Ok((_, false)) => {
            let copy = backend::copy(param);
            let name = backend::name(&copy, false).map(|(name, _)| name);
            (copy, name)
        }
        Err(found) => (param, Err(found)),
    }
}

/// The tensor's primitive, or an error that says what it is instead.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> Result<Primitive, String> {
    tensor.try_into_primitive::<Cube>().map_err(|error| format!("{error:?}"))
}

/// Tensors of which Burn is asked at once where they lie: its server looks for them while the walk over the module
/// goes on.
const AT_ONCE: usize = 256;

/// A search for where tensors of one device lie.
#[derive(Default)]
pub(crate) struct Search {
    /// Those that Burn was not asked for yet.
    tensors: Vec<Tensors>,
    answers: Vec<Answer>,
}

impl Search {
    pub fn add(&mut self, tensors: Tensors) -> Result<(), Error> {
        self.tensors.push(tensors);
        if self.tensors.len() == AT_ONCE {
            let tensors = std::mem::replace(&mut self.tensors, Vec::with_capacity(AT_ONCE));
            self.answers.push(backend::ask(tensors)?);
        }
        Ok(())
    }

    /// Where the tensors lie, in the order in which they were added, once all that Burn was asked to do with them is
    /// submitted.
    pub fn places(mut self) -> Result<Vec<Places>, Error> {
        if !self.tensors.is_empty() {
            self.answers.push(backend::ask(self.tensors)?);
        }
        backend::places(self.answers)
    }
}

/// The tensor in contiguous memory that is its own.
fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// Where allocations lie. Submits what is pending on them.
fn resources(client: &Client, handles: Vec<[Handle; 2]>) -> Result<Vec<Places>, Error> {
    let place = |handle| client.get_resource::<WgpuServer<AutoCompiler>>(handle).map(Place);
    // Exclusively, since each would wait its turn at the device otherwise.
    let places = client.exclusive(|| {
        let places =
            |[param, grad]: [Handle; 2]| Ok(Places { param: place(param)?, grad: place(grad)? });
        handles.into_iter().map(places).collect::<Result<Vec<_>, _>>()
    });
    places.and_then(|places| places).map_err(|error| burn_error(format!("{error:?}")))
}

fn burn_error(message: String) -> Error {
    Error::Burn { during: "giving the memory of the parameters and gradients", message }
}
