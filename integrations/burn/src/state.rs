//! A parameter's states and step count, on the host.

use crate::error::Error;
use std::collections::BTreeMap;
use wgpu_optim::DynRule;

/// A parameter's states, the number of its steps, and how it is updated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Its path in the module.
    pub path: String,
    /// Empty if there are no arrays and nothing told it.
    pub shape: Vec<usize>,
    /// Its group in the config.
    pub group: usize,
    /// The learning rate of its last step.
    pub lr: f64,
    pub steps: u64,
    /// What the rule keeps for all elements, by name; empty if the rule is to compute it of the
    /// steps.
    pub scalars: BTreeMap<String, f64>,
    /// By the core's name for each.
    pub arrays: BTreeMap<String, Vec<f32>>,
}

impl State {
    /// Refuses what is not a parameter's of this rule.
    pub fn check(&self, rule: &dyn DynRule) -> Result<(), Error> {
        let found: Vec<_> = self.arrays.keys().map(String::as_str).collect();
        let mut expected: Vec<_> = rule.states().iter().map(|state| state.name).collect();
        expected.sort_unstable();
        if found != expected {
            let expected =
                format!("the states that {} keeps: [{}]", rule.name(), expected.join(", "));
            return Err(self.refused(expected, format!("[{}]", found.join(", "))));
        }
        let scalars = rule.scalars();
        let is_known = |name: &String| scalars.iter().any(|scalar| scalar.name == name.as_str());
        let found: Vec<_> = self.scalars.keys().map(String::as_str).collect();
        if !found.is_empty() && (found.len() != scalars.len() || !self.scalars.keys().all(is_known))
        {
            let scalars: Vec<_> = scalars.iter().map(|scalar| scalar.name).collect();
            let expected = format!("the numbers that {} keeps: {scalars:?}", rule.name());
            return Err(self.refused(expected, format!("{found:?}")));
        }
        let len = self.shape.iter().product::<usize>();
        match self.arrays.iter().find(|(_, values)| values.len() != len) {
            Some((name, values)) => {
                let expected = format!("`{name}` of shape {:?}", self.shape);
                Err(self.refused(expected, format!("{} elements", values.len())))
            }
            None => Ok(()),
        }
    }

    /// Refuses what is not the state of a parameter of this shape and group.
    pub fn check_fits(
        &self,
        shape: &[usize],
        group: usize,
        rule: &dyn DynRule,
    ) -> Result<(), Error> {
        if group != self.group {
            return Err(Error::Parameter {
                parameter: self.path.clone(),
                expected: format!("a parameter of group {} of the config", self.group),
                found: format!("one of group {group}"),
                remedy: "Give the model's parameters the ids that were saved, by the model's own \
                         record, or make groups by path"
                    .to_owned(),
            });
        }
        let is_unknown = self.shape.is_empty() && self.arrays.is_empty();
        if !(is_unknown || self.shape == shape) {
            let expected = format!("states of the parameter's shape {shape:?}");
            return Err(self.refused(expected, format!("states of shape {:?}", self.shape)));
        }
        self.check(rule)
    }

    fn refused(&self, expected: String, found: String) -> Error {
        Error::Parameter {
            parameter: self.path.clone(),
            expected,
            found: format!("{found} in what was loaded"),
            remedy: "Load what an optimizer of the same rule, options and model saved".to_owned(),
        }
    }
}
