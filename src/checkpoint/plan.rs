//! Everything that loading a file would change, or all that speaks against it.

use crate::checkpoint::arrays::{Found, FoundArrays, FoundParam};
use crate::checkpoint::draft::{Draft, Plan, lacks};
use crate::checkpoint::header::Header;
use crate::checkpoint::input::Input;
use crate::checkpoint::keys;
use crate::checkpoint::nearest::nearest;
use crate::checkpoint::numbers;
use crate::checkpoint::options::Options;
use crate::checkpoint::settings;
use crate::checkpoint::told::Told;
use crate::checkpoint::writes::Writes;
use crate::error::Error;
use crate::model::MAX_STEPS;
use crate::optimizer::{Engine, Optimizer};
use std::collections::{BTreeMap, BTreeSet};

/// What a plan is made of.
pub(super) struct Planner<'a, E: Engine> {
    pub optimizer: &'a Optimizer<E>,
    pub options: &'a Options,
    pub header: &'a Header,
    pub told: &'a Told,
}

/// The number in each small array.
type Numbers = BTreeMap<usize, Vec<u8>>;

impl<E: Engine> Planner<'_, E> {
    /// Checks everything.
    pub fn plan(&self, found: &FoundArrays, input: &mut Input<'_>) -> Result<Plan, Error> {
        let numbers = self.numbers(found, input)?;
        let mut draft = Draft::default();
        let model = &self.optimizer.model;
        self.strangers(found, &mut draft);
        settings::groups(model, self.told, self.options, &mut draft);
        let group_of = self.groups_of(&mut draft);
        let has_params = found.params.values().any(|param| param.param.is_some());
        for param in 0..model.params.len() {
            let name = model.name(param);
            let is_listed = group_of.contains(name);
            match found.params.get(name) {
                Some(found) => {
                    self.param(param, found, has_params, &numbers, &mut draft);
                    if !is_listed && self.told.groups.is_some() {
                        draft.problems.push(in_no_group(name));
                    }
                }
                // PyTorch keeps nothing of a parameter that took no step.
                None if is_listed && self.told.is_foreign() => {
                    self.param(param, &FoundParam::default(), has_params, &numbers, &mut draft);
                }
                None => self.missing(name, &mut draft),
            }
        }
        settings::around(self.optimizer, self.told, self.options, &mut draft);
        let Draft { plan, problems } = draft;
        if problems.is_empty() {
            return Ok(plan);
        }
        Err(Error::Checkpoint { file: input.name().into(), problems })
    }

    /// Reads all arrays of one element.
    fn numbers(&self, found: &FoundArrays, input: &mut Input<'_>) -> Result<Numbers, Error> {
        let model = &self.optimizer.model;
        let mut numbers = Numbers::new();
        for (name, param) in &found.params {
            let Ok(index) = model.find(name.as_str()) else { continue };
            let scalars = model.rule_of(index).scalars();
            let is_number = |state: &str| {
                state == keys::STEP || scalars.iter().any(|known| known.name == state)
            };
            for (_, found) in param.states.iter().filter(|(state, _)| is_number(state)) {
                let tensor = &self.header.tensors[found.tensor];
                if tensor.shape.is_empty() {
                    numbers.insert(found.tensor, input.whole(self.header.range(tensor))?);
                }
            }
        }
        Ok(numbers)
    }

    /// The parameters that the file's groups list; refuses those that are listed twice.
    fn groups_of(&self, draft: &mut Draft) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for name in self.told.groups.iter().flatten().flat_map(|group| &group.params) {
            if !names.insert(name.clone()) {
                draft.problems.push(Error::parameter(
                    name,
                    "a parameter in one group of the file",
                    "it in two",
                    "Correct the file's groups, or the names given to `rename`",
                ));
            }
        }
        names
    }

    /// What the file has beyond.
    fn strangers(&self, found: &FoundArrays, draft: &mut Draft) {
        let model = &self.optimizer.model;
        let known: Vec<_> = (0..model.params.len()).map(|param| model.name(param)).collect();
        let listed = self.told.groups.iter().flatten().flat_map(|group| &group.params);
        let names: BTreeSet<_> = found.params.keys().chain(listed).collect();
        for name in names.into_iter().filter(|name| model.find(name.as_str()).is_err()) {
            draft.unexpected(self.options, name.clone(), || {
                let near = nearest(name, &known);
                let near =
                    near.map_or_else(String::new, |near| format!("; the nearest is `{near}`"));
                Error::parameter(
                    name,
                    "a parameter of this optimizer",
                    format!("one that is only in the file{near}"),
                    "Tell its name here by `rename`, or ignore it by `allow_unexpected`",
                )
            });
        }
        for key in &found.strangers {
            draft.unexpected(self.options, key.clone(), || {
                Error::parameter(
                    key,
                    "a key that begins with `param.`, `grad.` or `state.`, once for each parameter",
                    "another one in the file",
                    "Ignore such keys by `allow_unexpected`",
                )
            });
        }
    }

    fn missing(&self, name: &str, draft: &mut Draft) {
        draft.missing(self.options, name.into(), || {
            Error::parameter(
                name,
                "a parameter that the file has",
                "none of this name",
                "Tell the file's name for it by `rename`, or leave it as it is by `allow_missing`",
            )
        });
    }

    /// Everything of one parameter.
    fn param(
        &self,
        param: usize,
        found: &FoundParam,
        has_params: bool,
        numbers: &Numbers,
        draft: &mut Draft,
    ) {
        let model = &self.optimizer.model;
        let name = model.name(param);
        draft.plan.loaded.push(name.into());
        // A parameter of PyTorch's that took no step, or of its SGD, which counts none.
        let is_new = self.told.is_foreign() && found.states.is_empty();
        let is_sgd = self.told.is_foreign() && model.rule_of(param).name() == "sgd";
        let steps = match found.states.get(keys::STEP) {
            Some(step) => self.steps(param, *step, numbers, draft),
            None if is_new => 0,
            None if is_sgd => 1,
            None => {
                self.lacks(param, keys::STEP, draft);
                0
            }
        };
        let scalars = self.scalars(param, found, numbers, is_new, draft);
        draft.plan.counts.push((param, steps, scalars));
        if !self.told.is_foreign() {
            draft.plan.frozen.push((param, self.told.frozen.contains(name)));
        }
        let Self { optimizer, options, header, told } = *self;
        Writes { optimizer, options, header, told, param, found, has_params }.plan(draft);
    }

    /// Refuses a parameter of which the file lacks something.
    fn lacks(&self, param: usize, what: &str, draft: &mut Draft) {
        lacks(&self.optimizer.model, self.options, param, what, draft);
    }

    fn steps(&self, param: usize, found: Found, numbers: &Numbers, draft: &mut Draft) -> u64 {
        let tensor = &self.header.tensors[found.tensor];
        let steps = numbers.get(&found.tensor).and_then(|bytes| numbers::steps(tensor, bytes));
        if let Some(steps) = steps.filter(|&steps| steps <= MAX_STEPS) {
            return steps;
        }
        let number = numbers.get(&found.tensor).map(|bytes| numbers::decode(tensor.dtype, bytes));
        let number = number.and_then(|numbers| numbers.first().copied());
        draft.problems.push(Error::parameter(
            self.optimizer.model.name(param),
            format!("`step`: one whole number from 0 to {MAX_STEPS}"),
            match number {
                Some(number) => format!("{number} of {}", tensor.dtype.name()),
                None => format!("{} of shape {:?}", tensor.dtype.name(), tensor.shape),
            },
            "Take another copy, or an earlier checkpoint",
        ));
        0
    }

    /// The scalars in the file, in the rule's order; `None` if the rule is to compute them.
    fn scalars(
        &self,
        param: usize,
        found: &FoundParam,
        numbers: &Numbers,
        is_new: bool,
        draft: &mut Draft,
    ) -> Option<Vec<f64>> {
        let mut scalars = Vec::new();
        for scalar in self.optimizer.model.rule_of(param).scalars() {
            let Some(found) = found.states.get(scalar.name) else {
                if !self.told.is_foreign() && !is_new {
                    self.lacks(param, scalar.name, draft);
                }
                return None;
            };
            let tensor = &self.header.tensors[found.tensor];
            let number =
                numbers.get(&found.tensor).filter(|_| tensor.dtype.significant_bits().is_some());
            let number =
                number.and_then(|bytes| numbers::decode(tensor.dtype, bytes).first().copied());
            match number {
                Some(number) => scalars.push(number),
                None => draft.problems.push(Error::parameter(
                    self.optimizer.model.name(param),
                    format!("`{}`: one floating-point number", scalar.name),
                    format!("{} of shape {:?}", tensor.dtype.name(), tensor.shape),
                    "Take another copy, or an earlier checkpoint",
                )),
            }
        }
        Some(scalars)
    }
}

fn in_no_group(name: &str) -> Error {
    Error::parameter(
        name,
        "a parameter in a group of the file",
        "it in no group",
        "Correct the file's groups",
    )
}
