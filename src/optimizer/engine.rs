//! What differs between GPU and CPU: where elements are, and how a step goes through them.

use crate::control::Control;
use crate::error::Error;
use crate::layout::geometry::BLOCK;
use crate::model::{Codec, Model};
use crate::optimizer::arrays::{Array, ArrayRange};
use crate::optimizer::transfer::Transfer;
use crate::rule::Real;
use std::fmt::Debug;

/// Where an optimizer computes: [`Gpu`](crate::Gpu) or [`Cpu`](crate::Cpu). Sealed: these are all.
pub trait Engine: Transfer + Debug + Sized + sealed::Sealed {
    /// The type of elements on the host.
    type Element: Real;
    /// How a caller tells where it keeps a parameter and its gradient.
    type Place: Debug;
    /// What a builder hands over beside groups and settings.
    #[doc(hidden)]
    type Setup: Debug + Default;
    /// What is kept of a step that is taken in parts, until it ends.
    #[doc(hidden)]
    type Open: Debug;

    /// Makes room for the groups and parameters from these indices on. If it fails, nothing has
    /// changed.
    #[doc(hidden)]
    fn extend(
        &mut self,
        model: &Model,
        control: &Control,
        first_group: usize,
        places: Vec<Option<Self::Place>>,
    ) -> Result<(), Error>;
    /// Tells that the next step is another: parameters were frozen, thawed, counted anew or moved
    /// to other groups.
    #[doc(hidden)]
    fn changed(&mut self);
    /// Refuses a parameter that is nowhere.
    #[doc(hidden)]
    fn check_place(&self, model: &Model, param: usize) -> Result<(), Error>;
    /// Sets the elements of an array; their number was checked.
    #[doc(hidden)]
    fn write(
        &mut self,
        model: &Model,
        param: usize,
        array: Array,
        values: &[Self::Element],
    ) -> Result<(), Error>;
    /// Sets the elements of a state as they are stored; the number of bytes was checked.
    #[doc(hidden)]
    fn write_bytes(
        &mut self,
        model: &Model,
        param: usize,
        state: usize,
        bytes: &[u8],
    ) -> Result<(), Error>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Bytes that so many elements take in an engine: as coded, or in the engine's own type where that
/// is f32.
fn stored_bytes<E: Engine>(codec: Codec, elements: u64) -> u64 {
    match codec {
        Codec::F32 => elements * size_of::<E::Element>() as u64,
        codec => codec.bytes(elements),
    }
}

impl ArrayRange {
    /// All elements of an array, in ranges of whole blocks of at most about so many bytes; one
    /// empty range of an empty array.
    pub(crate) fn all<E: Engine>(
        model: &Model,
        (param, array): (usize, Array),
        most_bytes: u64,
    ) -> impl Iterator<Item = Self> + use<E> {
        let len = model.params[param].len as u64;
        let blocks = most_bytes / stored_bytes::<E>(array.codec(model, param), BLOCK);
        let most = blocks.max(1) * BLOCK;
        let starts = (0..len.div_ceil(most).max(1)).map(move |index| index * most);
        starts.map(move |start| {
            let elements = start..(start + most).min(len);
            Self { param, array, elements }
        })
    }

    /// Bytes that its elements take as an engine stores them.
    pub(crate) fn bytes<E: Engine>(&self, model: &Model) -> u64 {
        let codec = self.array.codec(model, self.param);
        stored_bytes::<E>(codec, self.elements.end - self.elements.start)
    }
}
