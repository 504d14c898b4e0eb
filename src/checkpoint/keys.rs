//! The keys of arrays and metadata in a file. Each begins with what it is, so that no parameter's
//! name collides with another key.

/// A parameter's elements.
pub(super) fn param(name: &str) -> String {
    format!("{PARAM}{name}")
}

/// Its gradient's.
pub(super) fn grad(name: &str) -> String {
    format!("{GRAD}{name}")
}

/// A state's, or a number that goes with the states; PyTorch's own flattened key.
pub(super) fn state(name: &str, state: &str) -> String {
    format!("{STATE}{name}.{state}")
}

/// The scales of an array whose elements have 8 bits, bitsandbytes' `absmax`.
pub(super) fn absmax(key: &str) -> String {
    format!("{key}{ABSMAX}")
}

pub(super) const PARAM: &str = "param.";
pub(super) const GRAD: &str = "grad.";
pub(super) const STATE: &str = "state.";
pub(super) const ABSMAX: &str = ".absmax";

/// What PyTorch calls the step count among the states.
pub(super) const STEP: &str = "step";

/// The CRC-32 of every array before it, 4 bytes each.
pub(super) const CHECKSUM: &str = "checksum";
pub(super) const CHECKSUM_BYTES: u64 = 4;

/// The snapshot's entry in the metadata.
pub(super) const SNAPSHOT: &str = "wgpu_optim";

/// What the caller's own entries begin with.
pub(super) const USER: &str = "user.";

/// Hugging Face's readers ask for this entry.
pub(super) const FORMAT: (&str, &str) = ("format", "pt");

/// What a file made from PyTorch's says in place of a snapshot: the optimizer's class, its groups,
/// and its scaler's state, as JSON.
pub(super) const OPTIMIZER: &str = "optimizer";
pub(super) const PARAM_GROUPS: &str = "param_groups";
pub(super) const SCALER: &str = "scaler";
