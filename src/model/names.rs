//! How a parameter is named in a call: by its name, or by the handle that spares the lookup.

use crate::error::Error;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

/// A parameter's handle, valid for the optimizer that gave it. Calls that name a parameter take one
/// in place of its name, and look nothing up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId {
    optimizer: u32,
    index: u32,
}

/// What names a parameter: `&str`, `String` or [`ParamId`].
pub trait ParamKey: sealed::Sealed {
    /// The parameter's index.
    #[doc(hidden)]
    fn find(&self, names: &Names) -> Result<usize, Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::ParamId {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

impl ParamKey for str {
    fn find(&self, names: &Names) -> Result<usize, Error> {
        names.by_name.get(self).copied().ok_or_else(|| names.unknown(self))
    }
}

impl ParamKey for String {
    fn find(&self, names: &Names) -> Result<usize, Error> {
        ParamKey::find(self.as_str(), names)
    }
}

impl ParamKey for ParamId {
    fn find(&self, names: &Names) -> Result<usize, Error> {
        let index = self.index as usize;
        if self.optimizer == names.optimizer && index < names.names.len() {
            return Ok(index);
        }
        Err(Error::parameter(
            format!("handle {index}"),
            "a handle that this optimizer gave",
            "one of another optimizer",
            "Ask this optimizer for it, by `id` or `params`",
        ))
    }
}

impl<T: ParamKey + ?Sized> ParamKey for &T {
    fn find(&self, names: &Names) -> Result<usize, Error> {
        T::find(self, names)
    }
}

/// The names of all parameters, in the order they were added.
#[derive(Debug)]
pub struct Names {
    /// What tells this optimizer's handles from others'.
    optimizer: u32,
    names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl Default for Names {
    fn default() -> Self {
        static OPTIMIZERS: AtomicU32 = AtomicU32::new(0);
        let optimizer = OPTIMIZERS.fetch_add(1, Ordering::Relaxed);
        Self { optimizer, names: Vec::new(), by_name: HashMap::new() }
    }
}

impl Names {
    /// Appends a name, or gives the index that has it already.
    pub(crate) fn add(&mut self, name: String) -> Result<(), usize> {
        if let Some(&index) = self.by_name.get(&name) {
            return Err(index);
        }
        self.by_name.insert(name.clone(), self.names.len());
        self.names.push(name);
        Ok(())
    }

    /// Takes the last name away.
    pub(crate) fn pop(&mut self) {
        if let Some(name) = self.names.pop() {
            self.by_name.remove(&name);
        }
    }

    /// A parameter's name.
    pub(crate) fn get(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// A parameter's handle.
    pub(crate) fn id(&self, index: usize) -> ParamId {
        ParamId { optimizer: self.optimizer, index: index as u32 }
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<_> = self.names.iter().take(8).map(String::as_str).collect();
        let more = if self.names.len() > known.len() { ", …" } else { "" };
        Error::parameter(
            name,
            "the name of a parameter of this optimizer",
            "none of that name",
            format!("Known are: {}{more}", known.join(", ")),
        )
    }
}
