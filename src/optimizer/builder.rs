//! The builder, whose methods GPU and CPU share.

use crate::control::{Control, GradScaler, NormType};
use crate::error::Error;
use crate::model::pattern::matches;
use crate::model::{Param, Storage};
use crate::optimizer::engine::Engine;
use crate::rule::DynRule;
use std::fmt::Debug;

/// A rule, its learning rate's multiplier, and its parameters.
#[derive(Debug)]
pub(crate) struct NewGroup<P> {
    pub(crate) rule: Box<dyn DynRule>,
    pub(crate) lr_multiplier: f64,
    pub(crate) params: Vec<Param<P>>,
}

/// Collects groups for an [`Optimizer`](crate::optimizer::Optimizer), and what it does around its
/// steps.
#[derive(Debug)]
#[must_use = "an optimizer is made by `build`"]
pub struct Builder<E: Engine> {
    pub(crate) groups: Vec<NewGroup<E::Place>>,
    pub(crate) control: Control,
    /// How parameters are stored, by patterns of their names.
    pub(crate) storage: Vec<(String, Storage)>,
    pub(crate) setup: E::Setup,
    /// The first call that made no sense, for `build` to tell.
    pub(crate) misuse: Option<Error>,
}

impl<E: Engine> Default for Builder<E> {
    fn default() -> Self {
        let (groups, control, storage, setup, misuse) = Default::default();
        Self { groups, control, storage, setup, misuse }
    }
}

impl<E: Engine> Builder<E> {
    /// Adds parameters that share a rule's hyperparameters: [`Param`]s, or names with shapes or
    /// numbers of elements, `("w", [128, 784])` or `("w", 100_352)`.
    pub fn group<P: Into<Param<E::Place>>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let params = params.into_iter().map(Into::into).collect();
        self.groups.push(NewGroup { rule: rule.into(), lr_multiplier: 1.0, params });
        self
    }

    /// Adds a group for each of these rules, with the parameters whose names match its pattern, in
    /// which `*` stands for any characters and `?` for one. A parameter goes to the first that
    /// matches, so that exceptions come first; one that none matches is refused by `build`.
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
    pub fn groups_by_name<P: Into<Param<E::Place>>>(
        mut self,
        rules: impl IntoIterator<Item = (impl Into<String>, impl Into<Box<dyn DynRule>>)>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let rule = |(pattern, rule): (_, _)| {
            let pattern: String = Into::into(pattern);
            let group = NewGroup { rule: Into::into(rule), lr_multiplier: 1.0, params: Vec::new() };
            (pattern, group)
        };
        let mut groups: Vec<_> = rules.into_iter().map(rule).collect();
        for param in params.into_iter().map(Into::into) {
            match groups.iter_mut().find(|(pattern, _)| matches(pattern, &param.name)) {
                Some((_, group)) => group.params.push(param),
                None => {
                    let patterns: Vec<_> = groups.iter().map(|(pattern, _)| &**pattern).collect();
                    self.misuse.get_or_insert_with(|| unmatched(&param.name, &patterns));
                }
            }
        }
        self.groups.extend(groups.into_iter().map(|(_, group)| group));
        self
    }

    /// Multiplies the last group's learning rate wherever
    /// [`set_base_lr`](crate::optimizer::Optimizer::set_base_lr) sets all groups' at once. Before
    /// any group it is refused by `build`.
    pub fn lr_multiplier(mut self, multiplier: f64) -> Self {
        match self.groups.last_mut() {
            Some(group) => group.lr_multiplier = multiplier,
            None => {
                self.misuse.get_or_insert_with(|| Error::Setting {
                    expected: "a group before `lr_multiplier`".into(),
                    remedy: "Call it after the group that it is for".into(),
                });
            }
        }
        self
    }

    /// Clips by the global norm: every gradient is multiplied by `min(1, max_norm/(‖g‖ + 1e-6))`,
    /// with the root of the sum of all squares, over all parameters of the optimizer that are not
    /// frozen; PyTorch's `clip_grad_norm_`. As there, a NaN makes all gradients NaN, and an
    /// infinite one makes all others 0 and itself NaN, unless such steps are skipped.
    pub fn clip_grad_norm(mut self, max_norm: f64) -> Self {
        self.control.clip_norm = Some((NormType::L2, max_norm));
        self
    }

    /// The same by the largest magnitude of any element.
    pub fn clip_grad_norm_max(mut self, max_norm: f64) -> Self {
        self.control.clip_norm = Some((NormType::Max, max_norm));
        self
    }

    /// Clamps each element of the gradient to ±`value`, after anything else that scales it;
    /// PyTorch's `clip_grad_value_`.
    pub fn clip_grad_value(mut self, value: f64) -> Self {
        self.control.clip_value = Some(value);
        self
    }

    /// Takes gradients that come multiplied by the loss scale, and skips steps in which one is
    /// infinite or NaN. [`GradScaler`] tells what to do where several models share a loss.
    pub fn grad_scaler(mut self, scaler: GradScaler) -> Self {
        self.control.scaler = Some(scaler);
        self
    }

    /// Skips steps in which a gradient is infinite or NaN, whole, without a loss scale.
    pub fn skip_non_finite(mut self) -> Self {
        self.control.skip_non_finite = true;
        self
    }

    /// Zeroes each gradient as the step reads it, also where it is skipped. It costs 4 bytes more a
    /// parameter, less than to zero them apart.
    ///
    /// As PyTorch's `zero_grad` does, it zeroes all gradients: a frozen parameter's too, so that
    /// one that is thawed starts from none, whatever an engine added meanwhile. No step reads
    /// those; where there are any, a dispatch of their own zeroes them.
    pub fn zero_grad(mut self) -> Self {
        self.control.zero_grad = true;
        self
    }

    /// Keeps statistics of each step: on the GPU for
    /// [`read_statistics`](crate::Optimizer::read_statistics), on the CPU for
    /// [`grad_norm`](crate::CpuOptimizer::grad_norm).
    pub fn statistics(mut self) -> Self {
        self.control.statistics = true;
        self
    }

    /// How parameters whose names match a pattern are stored, with their gradients and states, also
    /// those that are added later. A parameter takes the first that matches, so that exceptions
    /// come first; its own [`storage`](Param::storage) goes before all; one that none matches is in
    /// f32.
    ///
    /// ```no_run
    /// # use wgpu_optim::{AdamW, Format, Optimizer, Rounding, Storage};
    /// let builder = Optimizer::builder()
    ///     .group(AdamW::default(), [("embed.weight", [50_000, 512]), ("mlp.weight", [512, 512])])
    ///     .storage("embed.*", Storage::bf16(Rounding::Remainder))
    ///     .storage("*", Storage::bf16(Rounding::Remainder).states(Format::Block8));
    /// ```
    pub fn storage(mut self, pattern: impl Into<String>, storage: Storage) -> Self {
        self.storage.push((pattern.into(), storage));
        self
    }

    /// Refuses settings that are out of range, and calls that made no sense.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.control.validate()?;
        self.misuse.take().map_or(Ok(()), Err)
    }
}

fn unmatched(name: &str, patterns: &[&str]) -> Error {
    Error::parameter(
        name,
        format!("a name that one of the patterns matches: {}", patterns.join(", ")),
        "none that does",
        "End the patterns with `*` for all others",
    )
}
