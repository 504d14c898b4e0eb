//! What loading a file would change, and what speaks against it.

use crate::checkpoint::arrays::Found;
use crate::checkpoint::keys;
use crate::checkpoint::options::Options;
use crate::control::{Control, GradScaler, Scale};
use crate::error::Error;
use crate::model::{Code, Formats, Model};
use crate::optimizer::Array;
use crate::rule::DynRule;

/// What is to be changed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub groups: Vec<NewGroup>,
    pub writes: Vec<Write>,
    /// Parameters with their steps and the scalars that go with them; `None` for those that the
    /// rule computes.
    pub counts: Vec<(usize, u64, Option<Vec<f64>>)>,
    pub frozen: Vec<(usize, bool)>,
    pub control: Option<Control>,
    pub scale: Option<NewScale>,
    pub loaded: Vec<String>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
}

/// A plan in the making, with what speaks against it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub plan: Plan,
    pub problems: Vec<Error>,
}

/// A group's rule as the file has it.
#[derive(Debug)]
pub(super) struct NewGroup {
    pub group: usize,
    pub rule: Box<dyn DynRule>,
    pub lr_multiplier: Option<f64>,
}

/// The loss scale as the file has it.
#[derive(Debug)]
pub(super) struct NewScale {
    pub scaler: Option<GradScaler>,
    pub scale: Scale,
}

/// An array that is set.
#[derive(Debug)]
pub(super) struct Write {
    pub param: usize,
    pub array: Array,
    pub from: From,
}

/// Where its elements come from.
#[derive(Debug)]
pub(super) enum From {
    /// An array of the file, as it is.
    Raw(Found),
    /// Numbers of an array of the file, to be decoded and stored anew.
    Values(Values),
    /// One number for all.
    Number(f64),
}

/// Numbers of the file.
#[derive(Debug)]
pub(super) struct Values {
    pub main: Found,
    /// How elements of 8 bits are coded.
    pub code: Code,
    /// What the file keeps beside a 16-bit parameter, to make one number of both.
    pub kept: Option<(Found, Formats)>,
    /// The sizes that the matrix has in the file.
    pub transposed: Option<[usize; 2]>,
}

impl Draft {
    /// Notes what the file lacks, and refuses it unless that is allowed.
    pub fn missing(&mut self, options: &Options, what: String, refusal: impl FnOnce() -> Error) {
        self.plan.missing.push(what);
        if !options.allow_missing {
            self.problems.push(refusal());
        }
    }

    /// Notes what the file has beyond, and refuses it unless that is allowed.
    pub fn unexpected(&mut self, options: &Options, what: String, refusal: impl FnOnce() -> Error) {
        self.plan.unexpected.push(what);
        if !options.allow_unexpected {
            self.problems.push(refusal());
        }
    }
}

/// Refuses a parameter of which the file lacks something, unless that is allowed.
pub(super) fn lacks(model: &Model, options: &Options, param: usize, what: &str, draft: &mut Draft) {
    let name = model.name(param);
    draft.missing(options, keys::state(name, what), || {
        Error::parameter(
            name,
            format!("`{what}`, which {} keeps", model.rule_of(param).name()),
            "a file that lacks it",
            "Load what the same rule saved with the same options, or start such states anew by \
             `allow_missing`",
        )
    });
}
