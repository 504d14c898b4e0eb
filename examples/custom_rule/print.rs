//! The WGSL of a whole kernel, for readers who are curious.

use crate::RULE;
use wgpu_optim::internals::geometry::{Sharing, Transport};
use wgpu_optim::internals::limits::Limits;
use wgpu_optim::internals::pages::Slots;
use wgpu_optim::internals::{Extras, Formats, RuleKernel, rule_kernel};
use wgpu_optim::{Error, wgpu};

/// The kernel of the update: the rule, and what the library puts before and after it.
///
/// `internals` is not a part of the API. Programs that only train do not need it.
pub fn update_kernel() -> Result<String, Error> {
    let kernel = RuleKernel::Update {
        transport: Transport::Vec4,
        slots: Slots::One,
        sharing: Sharing::Apart,
        extras: Extras::default(),
        formats: Formats::f32(1),
        narrow: false,
    };
    Ok(rule_kernel(&RULE, kernel, &Limits::from(&wgpu::Limits::default()))?.text)
}
