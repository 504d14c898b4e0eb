//! The rules to walk: every option of every rule, and numbers that differ from the defaults.

use super::facts::{FACTS, Rules};
use wgpu_optim::DynRule;

/// Every rule with every option, at its default numbers.
pub fn variants() -> Rules {
    FACTS.iter().flat_map(|facts| (facts.variants)()).collect()
}

/// The same, and every rule with every number changed.
pub fn cases() -> Rules {
    let changed = FACTS.iter().flat_map(|facts| (facts.changed)());
    variants().into_iter().chain(changed).collect()
}

/// What a case is called in messages.
pub fn label(rule: &dyn DynRule) -> String {
    format!("{rule:?}")
}
