//! Kernels: which WGSL files, flags and bindings make one, how they are linked, and what is said to
//! the author of a rule whose WGSL does not fit.

mod binding;
mod check;
mod codec;
mod glue;
mod kernel;
mod link;
mod source;

pub use binding::{Access, Binding, Group, Resource, in_group, storage_buffers};
pub use check::{Location, explain};
pub use kernel::{
    CHANGED_SUMS, Extras, Fixed, RuleKernel, SumOf, fixed, page_bindings, request_binding,
    rule_kernel, update_exchange,
};
pub use link::Shader;
