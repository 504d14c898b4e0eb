//! States that no step has used yet.

use crate::collect::Job;
use crate::error::Error;
use crate::state::State;
use burn::module::ParamId;
use std::collections::BTreeMap;

/// States that wait for their parameters: those of records by id, those of checkpoints by path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    pub by_id: BTreeMap<ParamId, State>,
    pub by_path: BTreeMap<String, State>,
    /// Whether a step has found one of its parameters among them.
    pub is_found: bool,
}

impl Loaded {
    pub fn get(&self, job: &Job) -> Option<&State> {
        self.by_id.get(&job.id).or_else(|| self.by_path.get(&job.path))
    }

    pub fn take(&mut self, job: &Job) -> Option<State> {
        let state = self.by_id.remove(&job.id).or_else(|| self.by_path.remove(&job.path))?;
        self.is_found = true;
        Some(state)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &State> {
        self.by_id.values().chain(self.by_path.values())
    }

    /// Refuses a first step of parameters of which none was loaded: all would start anew, unseen.
    pub fn check_found<'a>(
        &self,
        mut jobs: impl Iterator<Item = &'a Job> + Clone,
    ) -> Result<(), Error> {
        let Some(state) = self.iter().next().filter(|_| !self.is_found) else { return Ok(()) };
        let Some(first) = jobs.clone().next() else { return Ok(()) };
        if jobs.any(|job| self.get(job).is_some()) {
            return Ok(());
        }
        let (by, remedy) = if self.by_path.is_empty() {
            let remedy = "Load the model's own record first, which gives its parameters their ids \
                          again, or save by path: `save_checkpoint`";
            ("id", remedy)
        } else {
            ("path", "Load what was saved for this model, or give its modules the names of then")
        };
        Err(Error::Parameter {
            parameter: first.path.clone(),
            expected: format!("a parameter whose states were loaded, as of `{}`", state.path),
            found: format!("none of this step's parameters among them, by {by}"),
            remedy: remedy.to_owned(),
        })
    }
}
