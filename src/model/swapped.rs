//! Which parameters hold their averages, as for an evaluation.

use crate::error::Error;
use crate::model::groups::Model;
use crate::model::storage::{Codec, Keeping};

impl Model {
    /// The index of a parameter's average among its states, if it keeps one.
    pub(crate) fn average_of(&self, param: usize) -> Option<usize> {
        let rule = self.rule_of(param);
        rule.modifiers()?.average?;
        // It is the first of what modifiers keep.
        Some(rule.own().states().len())
    }

    /// The parameters to exchange with their averages, or back. One that took no step has no
    /// average yet, and is left as it is.
    pub(crate) fn to_swap(&self) -> Result<Vec<usize>, Error> {
        if let Some(swapped) = &self.swapped {
            return Ok(swapped.clone());
        }
        let averaged = (0..self.params.len()).filter(|&param| self.average_of(param).is_some());
        let averaged: Vec<_> = averaged.collect();
        if averaged.is_empty() {
            return Err(Error::Setting {
                expected: "a group with an average, `Modifiers::average`".into(),
                remedy: "Ask for it when the optimizer is built".into(),
            });
        }
        averaged.iter().try_for_each(|&param| self.check_exact(param))?;
        Ok(averaged.into_iter().filter(|&param| self.steps(param) != Some(0)).collect())
    }

    /// Refuses a parameter that cannot hold an f32, so that exchanging twice would change it.
    fn check_exact(&self, param: usize) -> Result<(), Error> {
        let formats = &self.params[param].formats;
        let has_master = matches!(formats.keeping, Keeping::Master | Keeping::Remainder);
        if formats.param == Codec::F32 || has_master {
            return Ok(());
        }
        Err(Error::parameter(
            self.name(param),
            "a parameter that holds an f32 exactly, to be exchanged with its average and back",
            format!("one in {:?} without a master", formats.param),
            "Store it with `Rounding::Master` or `Rounding::Remainder`, or read its state `average`",
        ))
    }

    /// Notes that these parameters were exchanged.
    pub(crate) fn set_swapped(&mut self, params: Vec<usize>) {
        self.swapped = match self.swapped {
            Some(_) => None,
            None => Some(params),
        };
    }

    /// Refuses what needs the parameters themselves.
    pub(crate) fn check_swapped(&self, what: &str) -> Result<(), Error> {
        if self.swapped.is_none() {
            return Ok(());
        }
        Err(Error::Setting {
            expected: format!("parameters, and not their averages, {what}"),
            remedy: "Call `swap_average` once more, which exchanges them back".into(),
        })
    }
}
