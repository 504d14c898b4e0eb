//! How strict loading is.

use std::collections::BTreeMap;

/// How strict loading is.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub allow_missing: bool,
    pub allow_unexpected: bool,
    pub keep_hyperparameters: bool,
    pub convert: bool,
    pub without_params: bool,
    pub skip_checksum: bool,
    pub is_renamed: bool,
    /// The sizes that matrices have in the file, by the optimizer's names.
    pub transposed: BTreeMap<String, [usize; 2]>,
}
