//! Groups, their rules and step counts, and the parameters' names: what every optimizer keeps,
//! wherever it computes.

use crate::dyn_rule::DynRule;
use crate::error::Error;
use std::collections::HashMap;

/// Parameters that share a rule's hyperparameters.
#[derive(Debug)]
pub(crate) struct Group {
    pub rule: Box<dyn DynRule>,
    /// Steps taken.
    pub steps: u64,
    /// What the rule keeps for the whole group.
    pub scalars: Vec<f64>,
}

impl Group {
    /// Takes the step count one further and appends that step's coefficients.
    pub fn advance(&mut self, coeffs: &mut Vec<f64>) {
        self.steps += 1;
        self.rule.advance(self.steps, &mut self.scalars);
        self.rule.coeffs(self.steps, &self.scalars, coeffs);
    }
}

/// A parameter's name, size and group.
#[derive(Debug)]
pub(crate) struct Param {
    pub name: String,
    pub len: usize,
    pub group: usize,
}

/// All groups and parameters of an optimizer.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub groups: Vec<Group>,
    pub params: Vec<Param>,
    by_name: HashMap<String, usize>,
}

impl Groups {
    /// Adds a group; its parameters follow by [`Self::add_param`].
    pub fn add_group(&mut self, rule: Box<dyn DynRule>) -> Result<(), Error> {
        rule.validate()?;
        let scalars = rule.scalars().into_iter().map(|scalar| scalar.value).collect();
        self.groups.push(Group { rule, steps: 0, scalars });
        Ok(())
    }

    /// Adds a parameter to the last group.
    pub fn add_param(&mut self, name: String, len: usize) -> Result<(), Error> {
        let group = self.groups.len().saturating_sub(1);
        if let Some(&first) = self.by_name.get(&name) {
            let first = self.params[first].group;
            return Err(Error::parameter(
                &name,
                "a name that no other parameter has",
                format!("it in group {first} and again in group {group}"),
                "Give every parameter its own name, such as the module path and the tensor",
            ));
        }
        self.by_name.insert(name.clone(), self.params.len());
        self.params.push(Param { name, len, group });
        Ok(())
    }

    /// A parameter's index by its name.
    pub fn find(&self, name: &str) -> Result<usize, Error> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let known: Vec<_> = self.params.iter().take(8).map(|p| p.name.as_str()).collect();
            let more = if self.params.len() > known.len() { ", …" } else { "" };
            Error::parameter(
                name,
                "the name of a parameter of this optimizer",
                "none of that name",
                format!("Known are: {}{more}", known.join(", ")),
            )
        })
    }

    /// A state's index among those in use by a parameter's rule.
    pub fn find_state(&self, param: usize, state: &str) -> Result<usize, Error> {
        let param = &self.params[param];
        let rule = &self.groups[param.group].rule;
        let states = rule.states();
        states.iter().position(|s| s.name == state).ok_or_else(|| {
            let known: Vec<_> = states.iter().map(|s| s.name).collect();
            Error::parameter(
                &param.name,
                format!("a state that {} keeps with its present options", rule.name()),
                format!("`{state}`"),
                format!("It keeps: [{}]", known.join(", ")),
            )
        })
    }

    /// Refuses values of the wrong number for a parameter.
    pub fn check_len(&self, param: usize, found: usize) -> Result<(), Error> {
        let param = &self.params[param];
        if param.len == found {
            return Ok(());
        }
        Err(Error::parameter(
            &param.name,
            format!("{} values", param.len),
            format!("{found} values"),
            "Pass all elements of the tensor, in row-major order",
        ))
    }

    pub fn get(&self, group: usize) -> Result<&Group, Error> {
        self.groups.get(group).ok_or_else(|| self.no_group(group))
    }

    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let mut rule = self.get(group)?.rule.boxed();
        rule.set_lr(lr);
        rule.validate()?;
        self.groups[group].rule = rule;
        Ok(())
    }

    /// Replaces a group's hyperparameters. What decides the kernel and the states must stay.
    pub fn set_rule(&mut self, group: usize, rule: Box<dyn DynRule>) -> Result<(), Error> {
        let old = &self.get(group)?.rule;
        let kernel = |rule: &dyn DynRule| format!("{} with {:?}", rule.name(), rule.options());
        let (old, new) = (kernel(old.as_ref()), kernel(rule.as_ref()));
        if old != new {
            return Err(Error::group(
                group,
                format!("{old}, as the optimizer was built"),
                new,
                "Change numbers only; to change rule or options, build another optimizer",
            ));
        }
        rule.validate()?;
        self.groups[group].rule = rule;
        Ok(())
    }

    fn no_group(&self, group: usize) -> Error {
        Error::group(
            group,
            format!("an index below {}, the number of groups", self.groups.len()),
            group,
            "Groups are counted from 0 in the order they were added",
        )
    }
}
