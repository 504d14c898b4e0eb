//! What the optimizers on GPU and CPU, and their builders, have word for word in common.

/// Methods of a builder that has `groups`, whose second field is a multiplier, and a `control`.
macro_rules! builder_methods {
    () => {
        /// Multiplies the last group's learning rate wherever [`set_lrs`](crate::Optimizer::set_lrs) sets all groups' at once.
        pub fn lr_multiplier(mut self, multiplier: f64) -> Self {
            if let Some((_, lr_multiplier, _)) = self.groups.last_mut() {
                *lr_multiplier = multiplier;
            }
            self
        }

        /// Clips by the global norm: every gradient is multiplied by `min(1, max_norm/(‖g‖ + 1e-6))`, with the
        /// root of the sum of all squares, over all parameters of the optimizer that are not frozen; PyTorch's
        /// `clip_grad_norm_`. As there, a NaN makes all gradients NaN, and an infinite one makes all others 0 and
        /// itself NaN, unless [`Self::grad_scaler`] skips such steps.
        pub fn clip_grad_norm(self, max_norm: f64) -> Self {
            self.clip($crate::control::NormType::L2, max_norm)
        }

        /// The same by the largest magnitude of any element.
        pub fn clip_grad_norm_max(self, max_norm: f64) -> Self {
            self.clip($crate::control::NormType::Max, max_norm)
        }

        fn clip(mut self, norm: $crate::control::NormType, max_norm: f64) -> Self {
            self.control.clip_norm = Some((norm, max_norm));
            self
        }

        /// Clamps each element of the gradient to ±`value`, after anything else that scales it; PyTorch's
        /// `clip_grad_value_`.
        pub fn clip_grad_value(mut self, value: f64) -> Self {
            self.control.clip_value = Some(value);
            self
        }

        /// Takes gradients that come multiplied by the loss scale ([`loss_scale`](crate::Optimizer::loss_scale)), and skips steps in which one is
        /// infinite or NaN. [`GradScaler::constant`](crate::GradScaler::constant)`(1.0)` only skips.
        pub fn grad_scaler(mut self, scaler: $crate::GradScaler) -> Self {
            self.control.scaler = Some(scaler);
            self
        }

        /// Zeroes each gradient as the step reads it, also where it is skipped. It costs 4 bytes more a
        /// parameter, less than to zero them apart.
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
    };
}

/// Methods of an optimizer that has `groups` and a `control`.
macro_rules! optimizer_methods {
    () => {
        /// The number of groups, which are counted from 0 in the order they were added.
        pub fn groups(&self) -> usize {
            self.groups.groups.len()
        }

        /// The rule of a group, with its present hyperparameters.
        ///
        /// # Errors
        /// There is no such group.
        pub fn rule(&self, group: usize) -> Result<&dyn $crate::DynRule, $crate::Error> {
            Ok(self.groups.get(group)?.rule.as_ref())
        }

        /// Changes a group's learning rate from the next recorded step on.
        ///
        /// # Errors
        /// There is no such group, or the rate is out of range.
        pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), $crate::Error> {
            self.groups.set_lr(group, lr)
        }

        /// Whether a parameter is frozen.
        ///
        /// # Errors
        /// The name is unknown.
        pub fn is_frozen(&self, name: &str) -> Result<bool, $crate::Error> {
            Ok(self.groups.is_frozen(self.groups.find(name)?))
        }

        /// Changes every group's learning rate from the next recorded step on, to its
        /// [`lr_multiplier`](crate::Builder::lr_multiplier) times this one.
        ///
        /// # Errors
        /// A rate is out of range; none is changed then.
        pub fn set_lrs(&mut self, lr: f64) -> Result<(), $crate::Error> {
            self.groups.set_lrs(lr)
        }

        /// Changes a group's hyperparameters from the next recorded step on.
        ///
        /// # Errors
        /// There is no such group, the rule or its options are others, or a value is out of range.
        pub fn set_rule(
            &mut self,
            group: usize,
            rule: impl Into<Box<dyn $crate::DynRule>>,
        ) -> Result<(), $crate::Error> {
            self.groups.set_rule(group, rule.into())
        }

        /// Changes the largest norm that gradients keep, from the next recorded step on.
        ///
        /// # Errors
        /// The optimizer was built without clipping by a norm, or the number is out of range.
        pub fn set_clip_grad_norm(&mut self, max_norm: f64) -> Result<(), $crate::Error> {
            self.control.set_clip_norm(max_norm)
        }

        /// Changes the largest magnitude that an element of the gradient keeps, from the next recorded step on.
        ///
        /// # Errors
        /// The optimizer was built without clipping by value, or the number is out of range.
        pub fn set_clip_grad_value(&mut self, value: f64) -> Result<(), $crate::Error> {
            self.control.set_clip_value(value)
        }

        /// Tells that gradients are sums over so many micro-batches, by which steps divide them from the next
        /// recorded one on. At first 1.
        ///
        /// # Errors
        /// The number is 0.
        pub fn set_micro_batches(&mut self, count: u32) -> Result<(), $crate::Error> {
            self.control.set_micro_batches(count)
        }
    };
}

pub(crate) use {builder_methods, optimizer_methods};
