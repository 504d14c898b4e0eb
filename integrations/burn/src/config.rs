//! Which rule updates which parameters, and how gradients are clipped.

use crate::error::Error;
use burn::grad_clipping::{GradientClipping, GradientClippingConfig};
use burn::module::{ParamGroup, ParamId};
use std::fmt::{Debug, Formatter};
use wgpu_optim::DynRule;

/// Configures a [`FusedOptimizer`](crate::FusedOptimizer): any rule of `wgpu_optim`, for all
/// parameters or for groups of them.
///
/// ```
/// use burn::module::ParamGroup;
/// use wgpu_optim_burn::FusedConfig;
/// use wgpu_optim_burn::rules::AdamW;
///
/// let weights = AdamW { weight_decay: 0.1, ..Default::default() };
/// let rest = AdamW { weight_decay: 0.0, ..weights };
/// let optimizer = FusedConfig::new(weights)
///     .with_group(ParamGroup::from_regex(r"(bias|gamma|beta)$").unwrap(), rest)
///     .with_clip_grad_norm(1.0)
///     .init();
/// ```
///
/// A rule's own `lr` is not used: as in Burn, each step is given one.
#[derive(Clone)]
pub struct FusedConfig {
    pub(crate) groups: Vec<Group>,
    pub(crate) clip_grad_norm: Option<f64>,
}

/// Parameters that share a rule's hyperparameters.
pub(crate) struct Group {
    params: ParamGroup,
    pub rule: Box<dyn DynRule>,
    pub clipping: Option<GradientClipping>,
}

impl FusedConfig {
    /// One rule for all parameters. Groups can be added.
    pub fn new(rule: impl Into<Box<dyn DynRule>>) -> Self {
        let all = Group { params: ParamGroup::all(), rule: rule.into(), clipping: None };
        Self { groups: vec![all], clip_grad_norm: None }
    }

    /// Another rule, or the same with other hyperparameters, for the parameters of a group, by
    /// their paths in the module or by their ids. Of several groups that match a parameter, the
    /// last counts, as in Burn.
    #[must_use]
    pub fn with_group(mut self, params: ParamGroup, rule: impl Into<Box<dyn DynRule>>) -> Self {
        self.groups.push(Group { params, rule: rule.into(), clipping: None });
        self
    }

    /// Clips the norm of all gradients together to at most this, on the GPU: PyTorch's
    /// `clip_grad_norm_`. Parameters on several devices have a norm for each device.
    #[must_use]
    pub fn with_clip_grad_norm(mut self, max_norm: f64) -> Self {
        self.clip_grad_norm = Some(max_norm);
        self
    }

    /// Clips each gradient by itself, as Burn's optimizers do: in the group that was added last.
    /// Burn runs the kernels for it, a few for each tensor; [`Self::with_clip_grad_norm`] costs
    /// less.
    #[must_use]
    pub fn with_grad_clipping(mut self, clipping: &GradientClippingConfig) -> Self {
        if let Some(group) = self.groups.last_mut() {
            group.clipping = Some(clipping.init());
        }
        self
    }

    /// The group of a parameter.
    pub(crate) fn group_of(&self, id: ParamId, path: &str) -> usize {
        let matches = |group: &Group| group.params.matches(&id, Some(path));
        // The first matches all.
        self.groups.iter().rposition(matches).unwrap_or(0)
    }

    /// The group of a parameter of which only the path is known.
    pub(crate) fn group_of_path(&self, path: &str) -> usize {
        // No parameter has this id: Burn's are random.
        self.group_of(ParamId::from(u64::MAX), path)
    }

    /// A group's rule, to be replaced by this one with the options that the group's was built with,
    /// and with its modifiers unless it comes with others.
    ///
    /// # Errors
    /// There is no such group, or the rule does not fit it.
    pub(crate) fn checked(
        &mut self,
        group: usize,
        rule: &mut Box<dyn DynRule>,
    ) -> Result<&mut Box<dyn DynRule>, Error> {
        let (groups, refused) = (self.groups.len(), |expected: String, found: String| {
            let remedy = "Make another optimizer of the new config".to_owned();
            Err(Error::Optimizer(wgpu_optim::Error::Group { group, expected, found, remedy }))
        });
        let Some(Group { rule: own, .. }) = self.groups.get_mut(group) else {
            return refused(format!("a group below {groups}"), group.to_string());
        };
        if rule.name() != own.name() {
            return refused(format!("the rule {}", own.name()), rule.name().to_owned());
        }
        let modifiers = own.modifiers().copied();
        if let Some(modifiers) = modifiers.filter(|_| rule.modifiers().is_none()) {
            *rule = modifiers.on(rule.boxed());
        }
        rule.keep_options(&**own);
        if rule.options() != own.options() {
            let told = |rule: &dyn DynRule| format!("the options {:?}", rule.options());
            return refused(told(&**own), told(&**rule));
        }
        rule.validate()?;
        Ok(own)
    }

    /// The rule of a group, with this learning rate.
    pub(crate) fn rule(&self, group: usize, lr: f64) -> Box<dyn DynRule> {
        let mut rule = self.groups[group].rule.boxed();
        rule.set_lr(lr);
        rule
    }
}

impl Clone for Group {
    fn clone(&self) -> Self {
        Self {
            params: self.params.clone(),
            rule: self.rule.boxed(),
            clipping: self.clipping.clone(),
        }
    }
}

impl Debug for FusedConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let groups = self.groups.iter().map(|group| (&group.params, &group.rule));
        f.debug_struct("FusedConfig")
            .field("groups", &groups.collect::<Vec<_>>())
            .field("clip_grad_norm", &self.clip_grad_norm)
            .finish()
    }
}
