//! Building an optimizer: checks first, then everything it will ever create on the GPU.

use super::Optimizer;
use super::param::Param;
use crate::control::Control;
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::pattern::{Sorted, Unmatched};

/// A rule, its learning rate's multiplier, and its parameters.
pub(super) type NewGroup = (Box<dyn DynRule>, f64, Vec<Param>);

/// Collects groups for an [`Optimizer`], and what it does around its steps.
#[derive(Debug, Default)]
#[must_use = "an optimizer is made by `build`"]
pub struct Builder {
    groups: Vec<NewGroup>,
    control: Control,
    unmatched: Vec<Unmatched>,
    cache: Option<wgpu::PipelineCache>,
}

impl Builder {
    /// Adds parameters that share a rule's hyperparameters. `("name", len)` is a parameter too.
    pub fn group<P: Into<Param>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let params = params.into_iter().map(Into::into).collect();
        self.groups.push((rule.into(), 1.0, params));
        self
    }

    /// Adds a group for each of these rules, with the parameters whose names match its pattern, in which `*`
    /// stands for any characters and `?` for one. A parameter goes to the first that matches, so that
    /// exceptions come first; one that none matches is refused by [`Self::build`].
    ///
    /// ```no_run
    /// # use wgpu_optim::{AdamW, Optimizer};
    /// let decayed = AdamW { weight_decay: 0.1, ..Default::default() };
    /// let plain = AdamW { weight_decay: 0.0, ..decayed };
    /// let builder = Optimizer::builder().groups_by_name(
    ///     [("*.bias", plain), ("*norm*", plain), ("*", decayed)],
    ///     [("layer.weight", 4096), ("layer.bias", 64), ("norm.weight", 64)],
    /// );
    /// ```
    pub fn groups_by_name<P: Into<Param>>(
        mut self,
        rules: impl IntoIterator<Item = (&'static str, impl Into<Box<dyn DynRule>>)>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let (patterns, rules): (Vec<_>, Vec<_>) = rules.into_iter().unzip();
        let params = params.into_iter().map(Into::into);
        let members = Sorted::new(&patterns, params, |param: &Param| &param.name);
        self.unmatched.extend(members.unmatched);
        for (rule, params) in rules.into_iter().zip(members.groups) {
            self.groups.push((rule.into(), 1.0, params));
        }
        self
    }

    crate::twins::builder_methods!();

    /// Compiles pipelines with a cache of yours, which spares the driver's compiler at the next start.
    pub fn pipeline_cache(mut self, cache: &wgpu::PipelineCache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Checks everything, then creates states, pipelines and bind groups. The tables that kernels
    /// read are written by the GPU, in a submission of their own.
    ///
    /// On Mesa's lavapipe, steps are about a fifth faster on a device with the feature `SHADER_INT64`.
    ///
    /// # Errors
    /// A hyperparameter out of its range, a name given twice, a buffer without `STORAGE`, an offset or
    /// size that does not fit, ranges that overlap, a rule whose WGSL does not fit, a device whose
    /// limits are too low or whose memory is full. A later build may succeed; the device is unharmed.
    pub fn build(self, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Optimizer, Error> {
        self.control.validate()?;
        self.unmatched.into_iter().try_for_each(Unmatched::refuse)?;
        let mut optimizer = Optimizer::new(device, queue, self.control, self.cache)?;
        optimizer.extend(self.groups)?;
        optimizer.prepare()?;
        Ok(optimizer)
    }
}
