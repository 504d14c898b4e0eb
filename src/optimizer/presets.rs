//! Groups as most recipes for training cut a model, from the shapes of its tensors.

use crate::error::Error;
use crate::model::Param;
use crate::optimizer::builder::Builder;
use crate::optimizer::engine::Engine;
use crate::rule::{DynRule, Hyperparameter};

/// The dimensions from which on a tensor's weights decay.
const MATRIX: usize = 2;

/// The names of numbers that decay weights: a rule's own, and a modifier's.
const DECAYS: [&str; 2] = ["weight_decay", "modifiers.weight_decay"];

impl<E: Engine> Builder<E> {
    /// Adds two groups: matrices, and tensors of more dimensions, with the rule as it is; and
    /// vectors (biases, the weights of norms) with the same rule without weight decay. Both are
    /// there, the matrices' first, also where one is empty.
    ///
    /// An embedding is a matrix: to keep it from decaying take
    /// [`groups_by_name`](Self::groups_by_name). A shape of one size counts as a vector, so
    /// parameters need their shapes: `("w", [128, 784])`, not `("w", 100_352)`.
    ///
    /// ```
    /// use wgpu_optim::{AdamW, CpuOptimizer};
    /// let rule = AdamW { weight_decay: 0.1, ..Default::default() };
    /// let optimizer = CpuOptimizer::<f32>::builder()
    ///     .decay_matrices_only(rule, [("w", vec![128, 784]), ("b", vec![128])])
    ///     .build()?;
    /// assert_eq!(optimizer.param_info("w")?.group, 0);
    /// assert_eq!(optimizer.param_info("b")?.group, 1);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// `build` refuses a rule that decays nothing, and one that tells no `weight_decay` among its
    /// [`hyperparameters`](crate::Rule::hyperparameters).
    pub fn decay_matrices_only<P: Into<Param<E::Place>>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let rule = rule.into();
        let is_matrix = |param: &Param<E::Place>| param.shape.sizes().len() >= MATRIX;
        let (matrices, others): (Vec<_>, Vec<_>) =
            params.into_iter().map(Into::into).partition(is_matrix);
        let plain = without_decay(rule.as_ref()).unwrap_or_else(|| {
            self.misuse.get_or_insert_with(|| decays_nothing(rule.as_ref()));
            rule.boxed()
        });
        self.group(rule, matrices).group(plain, others)
    }
}

/// The rule with weight decay 0, unless it has none that is not.
fn without_decay(rule: &dyn DynRule) -> Option<Box<dyn DynRule>> {
    let mut plain = rule.boxed();
    let mut decays = false;
    for (name, value) in plain.hyperparameters() {
        if let (true, Hyperparameter::Number(number)) = (DECAYS.contains(&name), value) {
            decays |= *number != 0.0;
            *number = 0.0;
        }
    }
    decays.then_some(plain)
}

fn decays_nothing(rule: &dyn DynRule) -> Error {
    let problem = "`decay_matrices_only` wants one with a weight decay other than 0; set it, or \
                   add all parameters by `group`";
    Error::rule(rule.name(), problem)
}
