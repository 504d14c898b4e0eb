//! Groups, their rules and parameters, and which step count each parameter has.

use crate::error::Error;
use crate::model::counts::{Count, MAX_STEPS};
use crate::model::names::{Names, ParamId, ParamKey};
use crate::model::param::{Param, ParamInfo, Shape};
use crate::model::storage::Formats;
use crate::rule::{DynRule, Modifiers, with_modifiers_of};

/// Parameters that share a rule's hyperparameters.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rule: Box<dyn DynRule>,
    /// What `set_base_lr` multiplies the learning rate by.
    pub(crate) lr_multiplier: f64,
}

/// A parameter: its shape, its number of elements, its group, its step count, and how it is stored.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) shape: Shape,
    pub(crate) len: usize,
    pub(crate) group: usize,
    pub(crate) count: usize,
    pub(crate) formats: Formats,
    /// What rounding by chance depends on beside element and step.
    pub(crate) noise_key: u32,
}

/// All groups, parameters and step counts of an optimizer.
#[derive(Debug, Default)]
pub struct Model {
    pub(crate) groups: Vec<Group>,
    pub(crate) counts: Vec<Count>,
    pub(crate) params: Vec<Member>,
    names: Names,
    /// Steps of the optimizer so far, for the counts' histories.
    recorded: u64,
    /// The scalars that were last computed, by group and steps.
    latest_scalars: Option<((usize, u64), Vec<f64>)>,
    /// Whether loading a checkpoint failed half-way.
    pub(crate) is_torn: bool,
    /// The parameters that hold their averages, while they do.
    pub(crate) swapped: Option<Vec<usize>>,
}

impl Model {
    /// Adds a group; its parameters follow by [`Self::add_param`].
    pub(crate) fn add_group(
        &mut self,
        rule: Box<dyn DynRule>,
        lr_multiplier: f64,
    ) -> Result<(), Error> {
        rule.validate()?;
        check_multiplier(self.groups.len(), lr_multiplier)?;
        self.groups.push(Group { rule, lr_multiplier });
        Ok(())
    }

    /// Adds a parameter to the last group.
    pub(crate) fn add_param<P>(&mut self, param: Param<P>) -> Result<(), Error> {
        let group = self.groups.len().saturating_sub(1);
        let len = param.elements()?;
        let Param { name, shape, storage, .. } = param;
        let storage = storage.unwrap_or_default();
        let formats = storage.formats(&name, len, self.groups[group].rule.as_ref())?;
        let noise_key = storage.noise_key(&name);
        if let Err(first) = self.names.add(name.clone()) {
            let first = self.params[first].group;
            return Err(Error::parameter(
                &name,
                "a name that no other parameter has",
                format!("it in group {first} and again in group {group}"),
                "Give every parameter its own name, such as the module path and the tensor",
            ));
        }
        let count = self.count_of_new(group);
        self.counts[count].members += 1;
        self.params.push(Member { shape, len, group, count, formats, noise_key });
        Ok(())
    }

    /// The count of a new parameter of the last group, which is that of the one before it, or new:
    /// no other group has it, so that none needs to be looked at.
    fn count_of_new(&mut self, group: usize) -> usize {
        if let Some(last) = self.params.last().filter(|last| last.group == group) {
            return last.count;
        }
        let scalars = self.groups[group].rule.scalars_after(0);
        self.counts.push(Count::new(group, 0, scalars, false));
        self.counts.len() - 1
    }

    /// Takes the last groups and their parameters away, as if they had never been added.
    pub(crate) fn truncate(&mut self, groups: usize, params: usize) {
        for param in self.params.drain(params..) {
            self.counts[param.count].members -= 1;
            self.names.pop();
        }
        self.groups.truncate(groups);
        self.latest_scalars = None;
        // Their counts are the last.
        while self.counts.last().is_some_and(|count| count.group >= groups) {
            self.counts.pop();
        }
    }

    /// Freezes a parameter or thaws it; whether that changed anything.
    pub(crate) fn freeze(&mut self, param: usize, frozen: bool) -> bool {
        let old = self.params[param].count;
        if self.counts[old].frozen == frozen {
            return false;
        }
        let mut count = self.counts[old].copy_of(old);
        count.frozen = frozen;
        self.recount(param, count);
        true
    }

    /// Sets the number of steps that a parameter has behind it.
    pub(crate) fn set_steps(&mut self, param: usize, steps: u64) -> Result<(), Error> {
        if steps > MAX_STEPS {
            return Err(Error::parameter(
                self.name(param),
                format!("at most {MAX_STEPS} steps behind it"),
                steps,
                "Give the number of steps that were taken, as `steps` or `read_steps` told it",
            ));
        }
        let frozen = self.is_frozen(param);
        let count = self.index_of_steps(self.params[param].group, steps, frozen);
        self.give_count(param, count);
        Ok(())
    }

    /// Sets the number of steps that a parameter has behind it, with the scalars that go with it.
    pub(crate) fn set_count(&mut self, param: usize, steps: u64, scalars: Vec<f64>) {
        let (group, frozen) = (self.params[param].group, self.is_frozen(param));
        let count = self.index_of(Count::new(group, steps, scalars, frozen));
        self.give_count(param, count);
    }

    /// Moves a parameter to another group; its step count stays.
    pub(crate) fn move_to_group(&mut self, param: usize, group: usize) {
        let Member { group: old_group, count, .. } = self.params[param];
        if old_group != group {
            let moved = self.counts[count].copy_of(count).in_group(group);
            self.params[param].group = group;
            self.recount(param, moved);
        }
    }

    /// Refuses a step that a count has no room for, or that half of a checkpoint would take.
    pub(crate) fn check_steps(&self) -> Result<(), Error> {
        if self.is_torn {
            return Err(Error::Setting {
                expected:
                    "an optimizer that is whole, and not one of which loading failed half-way"
                        .into(),
                remedy: "Load a checkpoint, or build another optimizer".into(),
            });
        }
        self.check_swapped("for a step")?;
        let is_full = |count: &Count| count.takes_part() && count.steps >= MAX_STEPS;
        let Some(full) = self.counts.iter().position(is_full) else { return Ok(()) };
        let param = self.params.iter().position(|param| param.count == full);
        Err(Error::parameter(
            param.map_or("", |param| self.name(param)),
            format!("fewer than {MAX_STEPS} steps behind it"),
            self.counts[full].steps,
            "Set a smaller count by `set_steps`: so late, no rule tells one count from another",
        ))
    }

    /// Takes every count that is not frozen one step further, which the device may yet skip if it
    /// is `skippable`. If one has no room for it, none has moved.
    pub(crate) fn advance(&mut self, skippable: bool) -> Result<(), Error> {
        self.check_steps()?;
        self.recorded += 1;
        for count in &mut self.counts {
            if count.record(self.recorded, skippable) {
                self.groups[count.group].rule.advance(count.steps, &mut count.scalars);
            }
        }
        Ok(())
    }

    /// Gives a parameter that was left out of the latest step the count that it had `before`, when
    /// all counts were these.
    pub(crate) fn leave_out(&mut self, param: usize, before: &[Count]) {
        let index = self.params[param].count;
        self.recount(param, before[index].copy_of(index));
    }

    /// How many steps were recorded so far.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Appends the coefficients of a count's latest step.
    pub(crate) fn coeffs(&self, count: usize, coeffs: &mut Vec<f64>) {
        let Count { group, steps, scalars, .. } = &self.counts[count];
        self.groups[*group].rule.coeffs(*steps, scalars, coeffs);
    }

    pub(crate) fn is_frozen(&self, param: usize) -> bool {
        self.counts[self.params[param].count].frozen
    }

    /// Steps that a parameter has taken, if the host knows.
    pub(crate) fn steps(&self, param: usize) -> Option<u64> {
        let Count { steps, is_known, .. } = self.counts[self.params[param].count];
        is_known.then_some(steps)
    }

    /// The index of a count with so many steps behind it.
    fn index_of_steps(&mut self, group: usize, steps: u64, frozen: bool) -> usize {
        let scalars = self.scalars_after(group, steps);
        self.index_of(Count::new(group, steps, scalars, frozen))
    }

    /// A group's scalars after so many steps. A resumed run asks for the same ones for each
    /// parameter, and some rules go through all steps to know them.
    fn scalars_after(&mut self, group: usize, steps: u64) -> Vec<f64> {
        match &self.latest_scalars {
            Some((of, known)) if *of == (group, steps) => known.clone(),
            _ => {
                let scalars = self.groups[group].rule.scalars_after(steps);
                self.latest_scalars = Some(((group, steps), scalars.clone()));
                scalars
            }
        }
    }

    /// The index of a count that agrees with this one, which is added if there is none.
    fn index_of(&mut self, count: Count) -> usize {
        self.agreeing(&count).unwrap_or_else(|| self.insert(count))
    }

    /// The index of a count in use that agrees with this one.
    fn agreeing(&self, count: &Count) -> Option<usize> {
        self.counts.iter().position(|known| known.members > 0 && known.agrees(count))
    }

    /// Adds a count; its index.
    fn insert(&mut self, count: Count) -> usize {
        match self.counts.iter().position(Count::is_free) {
            Some(index) => {
                self.counts[index] = count;
                index
            }
            None => {
                self.counts.push(count);
                self.counts.len() - 1
            }
        }
    }

    /// Gives a parameter another count.
    fn recount(&mut self, param: usize, count: Count) {
        // The old count keeps its member until the new one has its index: it must not be free yet.
        let count = self.index_of(count);
        self.give_count(param, count);
    }

    /// Gives a parameter the count of this index.
    fn give_count(&mut self, param: usize, count: usize) {
        let old = std::mem::replace(&mut self.params[param].count, count);
        self.counts[count].members += 1;
        self.counts[old].members -= 1;
    }

    /// A parameter's index.
    pub(crate) fn find(&self, param: impl ParamKey) -> Result<usize, Error> {
        param.find(&self.names)
    }

    /// The indices of parameters, all or, if one is unknown, none.
    pub(crate) fn find_all(
        &self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<Vec<usize>, Error> {
        params.into_iter().map(|param| self.find(param)).collect()
    }

    /// A parameter's name.
    pub(crate) fn name(&self, param: usize) -> &str {
        self.names.get(param)
    }

    /// A parameter's handle.
    pub(crate) fn id(&self, param: usize) -> ParamId {
        self.names.id(param)
    }

    /// What is known of a parameter.
    pub(crate) fn info(&self, param: usize) -> ParamInfo<'_> {
        let Member { shape, len, group, .. } = &self.params[param];
        ParamInfo {
            id: self.id(param),
            name: self.name(param),
            shape,
            elements: *len,
            group: *group,
            steps: self.steps(param),
            is_frozen: self.is_frozen(param),
        }
    }

    /// The rule of a parameter.
    pub(crate) fn rule_of(&self, param: usize) -> &dyn DynRule {
        self.groups[self.params[param].group].rule.as_ref()
    }

    /// A state's index among those in use by a parameter's rule.
    pub(crate) fn find_state(&self, param: usize, state: &str) -> Result<usize, Error> {
        let rule = self.rule_of(param);
        let arrays = self.params[param].formats.arrays(rule);
        arrays.iter().position(|(array, _)| array.name == state).ok_or_else(|| {
            let known: Vec<_> = arrays.iter().map(|(array, _)| array.name).collect();
            Error::parameter(
                self.name(param),
                format!("a state that {} keeps with its present options", rule.name()),
                format!("`{state}`"),
                format!("It keeps: [{}]", known.join(", ")),
            )
        })
    }

    /// Refuses values of the wrong number for a parameter.
    pub(crate) fn check_len(&self, param: usize, found: usize) -> Result<(), Error> {
        let Member { len, shape, .. } = &self.params[param];
        if *len == found {
            return Ok(());
        }
        Err(Error::parameter(
            self.name(param),
            format!("{len} values, of shape {:?}", shape.sizes()),
            format!("{found} values"),
            "Pass all elements of the tensor, in row-major order",
        ))
    }

    pub(crate) fn get(&self, group: usize) -> Result<&Group, Error> {
        self.groups.get(group).ok_or_else(|| {
            Error::group(
                group,
                format!("an index below {}, the number of groups", self.groups.len()),
                group,
                "Groups are counted from 0 in the order they were added",
            )
        })
    }

    pub(crate) fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let rule = with_lr(self.get(group)?, lr)?;
        self.replace_rule(group, rule);
        Ok(())
    }

    /// Sets every group's learning rate to its multiple of this one.
    pub(crate) fn set_base_lr(&mut self, lr: f64) -> Result<(), Error> {
        let scaled = |group: &Group| with_lr(group, lr * group.lr_multiplier);
        // All are checked before any is changed.
        let rules: Vec<_> = self.groups.iter().map(scaled).collect::<Result<_, _>>()?;
        rules.into_iter().enumerate().for_each(|(group, rule)| self.replace_rule(group, rule));
        Ok(())
    }

    /// Replaces a group's hyperparameters. What decides the kernel and the states must stay.
    pub(crate) fn set_rule(&mut self, group: usize, rule: Box<dyn DynRule>) -> Result<(), Error> {
        let rule = self.checked_rule(group, rule)?;
        self.replace_rule(group, rule);
        Ok(())
    }

    /// Replaces the numbers of a group's modifiers.
    pub(crate) fn set_modifiers(
        &mut self,
        group: usize,
        modifiers: Modifiers,
    ) -> Result<(), Error> {
        let rule = modifiers.on(self.get(group)?.rule.boxed());
        self.set_rule(group, rule)
    }

    /// A rule that may take the place of a group's.
    pub(crate) fn checked_rule(
        &self,
        group: usize,
        rule: Box<dyn DynRule>,
    ) -> Result<Box<dyn DynRule>, Error> {
        let mut rule = with_modifiers_of(rule, self.get(group)?.rule.as_ref());
        rule.keep_options(self.get(group)?.rule.as_ref());
        let old = kernel(self.get(group)?.rule.as_ref());
        let new = kernel(rule.as_ref());
        if old != new {
            return Err(Error::group(
                group,
                format!("{old}, as the optimizer was built"),
                new,
                "Change numbers only; to change rule or options, build another optimizer",
            ));
        }
        rule.validate()?;
        Ok(rule)
    }

    /// Replaces a group's rule by one that was checked.
    pub(crate) fn replace_rule(&mut self, group: usize, rule: Box<dyn DynRule>) {
        self.groups[group].rule = rule;
        self.latest_scalars = None;
    }

    /// Refuses to move a parameter to a group whose rule keeps other states.
    pub(crate) fn check_move(&self, param: usize, group: usize) -> Result<(), Error> {
        let old = kernel(self.rule_of(param));
        let new = kernel(self.get(group)?.rule.as_ref());
        if old == new {
            return Ok(());
        }
        Err(Error::parameter(
            self.name(param),
            format!("a group of its own rule and options, {old}"),
            format!("group {group}, {new}"),
            "Its states mean nothing to another rule: add it to a new optimizer instead",
        ))
    }
}

/// What decides a rule's kernel and states, for messages and to compare.
fn kernel(rule: &dyn DynRule) -> String {
    format!("{} with {:?}", rule.name(), rule.options())
}

/// A group's rule with another learning rate.
fn with_lr(group: &Group, lr: f64) -> Result<Box<dyn DynRule>, Error> {
    let mut rule = group.rule.boxed();
    rule.set_lr(lr);
    rule.validate().map(|()| rule)
}

fn check_multiplier(group: usize, multiplier: f64) -> Result<(), Error> {
    if multiplier.is_finite() && multiplier >= 0.0 {
        return Ok(());
    }
    Err(Error::group(
        group,
        "a learning-rate multiplier that is a finite number of at least 0",
        multiplier,
        "Give such a number; 1 leaves the learning rate as it is",
    ))
}
