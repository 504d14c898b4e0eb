//! Errors, each with what to do about it.

use burn::module::Module;
use std::fmt::{Debug, Display, Formatter};

/// Why a step was refused. Nothing was changed by the refused step.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter or its gradient does not fit.
    #[error("parameter `{parameter}`: expected {expected}, found {found}. {remedy}")]
    Parameter {
        /// The parameter's path in the module.
        parameter: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A config of Burn's has a setting that no rule of ours supports.
    #[error("{config}: {problem}")]
    Config {
        /// The config's name.
        config: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Burn could not give a tensor's memory.
    #[error("Burn, while {during}: {message}")]
    Burn {
        /// What was being done.
        during: &'static str,
        /// Burn's own message.
        message: String,
    },
    /// A record could not be written or read.
    #[error("the optimizer's record: {0}")]
    Record(String),
    /// The optimizer refused.
    #[error(transparent)]
    Optimizer(#[from] wgpu_optim::Error),
}

/// A step that was refused: why, and the module as it was before.
pub struct Refused<M> {
    /// The module, unchanged.
    pub module: M,
    /// Why.
    pub error: Error,
}

impl<M: Module> Debug for Refused<M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.error, f)
    }
}

impl<M> Display for Refused<M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.error, f)
    }
}

impl<M: Module> std::error::Error for Refused<M> {}
