//! The arrays of a file, by parameter and by what they are.

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::header::{Header, Tensor};
use crate::checkpoint::keys;
use std::collections::BTreeMap;

/// An array: its index among the file's, and that of its scales if it has 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub tensor: usize,
    pub absmax: Option<usize>,
}

/// The arrays of a parameter.
#[derive(Debug, Default)]
pub(super) struct FoundParam {
    pub param: Option<Found>,
    pub grad: Option<Found>,
    /// States, step count and scalars, by name.
    pub states: BTreeMap<String, Found>,
}

/// All arrays of a file.
#[derive(Debug, Default)]
pub(super) struct FoundArrays {
    pub params: BTreeMap<String, FoundParam>,
    pub checksum: Option<usize>,
    /// Keys that mean nothing here, and keys that mean the same as others after renaming.
    pub strangers: Vec<String>,
}

impl FoundArrays {
    /// Sorts a file's arrays; names as `rename` makes them.
    pub fn sort(header: &Header, rename: &dyn Fn(&str) -> String) -> Self {
        let mut found = Self::default();
        let by_key: BTreeMap<_, _> =
            header.tensors.iter().zip(0..).map(|(tensor, at)| (tensor.key.as_str(), at)).collect();
        let is_codes = |key: &str| {
            by_key.get(key).is_some_and(|&at: &usize| header.tensors[at].dtype == Dtype::U8)
        };
        for (tensor, Tensor { key, .. }) in header.tensors.iter().enumerate() {
            if key == keys::CHECKSUM {
                found.checksum = Some(tensor);
                continue;
            }
            if key.strip_suffix(keys::ABSMAX).is_some_and(is_codes) {
                continue;
            }
            let absmax = by_key.get(keys::absmax(key).as_str()).copied();
            let absmax = absmax.filter(|_| is_codes(key));
            if !found.put(key, Found { tensor, absmax }, rename) {
                found.strangers.push(key.clone());
            }
        }
        found
    }

    /// Puts an array where it belongs; whether it belongs anywhere.
    fn put(&mut self, key: &str, array: Found, rename: &dyn Fn(&str) -> String) -> bool {
        if let Some(name) = key.strip_prefix(keys::PARAM) {
            return self.of(rename(name)).param.replace(array).is_none();
        }
        if let Some(name) = key.strip_prefix(keys::GRAD) {
            return self.of(rename(name)).grad.replace(array).is_none();
        }
        let state = key.strip_prefix(keys::STATE).and_then(|rest| rest.rsplit_once('.'));
        state.is_some_and(|(name, state)| {
            self.of(rename(name)).states.insert(state.into(), array).is_none()
        })
    }
    fn of(&mut self, name: String) -> &mut FoundParam {
        self.params.entry(name).or_default()
    }
}
