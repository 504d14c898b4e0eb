//! Hyperparameters by their names, so that a checkpoint can tell them and take them back.

/// A hyperparameter of a rule, to be read or changed.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Hyperparameter<'a> {
    /// A number, such as a learning rate.
    Number(&'a mut f64),
    /// Two numbers, such as betas.
    Pair(&'a mut (f64, f64)),
    /// Three numbers, such as Adan's betas.
    Triple(&'a mut (f64, f64, f64)),
    /// A choice, such as `maximize`.
    Flag(&'a mut bool),
}

impl<'a> From<&'a mut f64> for Hyperparameter<'a> {
    fn from(number: &'a mut f64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a mut (f64, f64)> for Hyperparameter<'a> {
    fn from(pair: &'a mut (f64, f64)) -> Self {
        Self::Pair(pair)
    }
}

impl<'a> From<&'a mut (f64, f64, f64)> for Hyperparameter<'a> {
    fn from(triple: &'a mut (f64, f64, f64)) -> Self {
        Self::Triple(triple)
    }
}

impl<'a> From<&'a mut bool> for Hyperparameter<'a> {
    fn from(flag: &'a mut bool) -> Self {
        Self::Flag(flag)
    }
}

/// Lists fields of a rule, each with its name, for [`Rule::hyperparameters`].
///
/// ```
/// # struct MyRule { lr: f64, betas: (f64, f64), maximize: bool }
/// # let rule = &mut MyRule { lr: 0.1, betas: (0.9, 0.99), maximize: false };
/// let listed = wgpu_optim::hyperparameters!(rule, lr, betas, maximize);
/// assert_eq!(listed[1].0, "betas");
/// ```
///
/// [`Rule::hyperparameters`]: crate::Rule::hyperparameters
#[macro_export]
macro_rules! hyperparameters {
    ($rule:expr, $($field:ident),+ $(,)?) => {
        vec![$((stringify!($field), $crate::Hyperparameter::from(&mut $rule.$field))),+]
    };
}
