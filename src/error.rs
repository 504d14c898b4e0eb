//! What can go wrong, said so that it can be corrected: every message names the thing, what was
//! expected, what was found and what to do.

use std::fmt::Display;

/// Why a call was refused. Nothing was recorded, written or changed by the refused call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter is outside its range.
    #[error("{rule}: `{parameter}` must be {expected}, but is {found}. {remedy}")]
    Hyperparameter {
        /// The rule's or schedule's name.
        rule: String,
        /// The hyperparameter's name.
        parameter: String,
        /// The allowed range.
        expected: String,
        /// The value given.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A parameter, its buffers or its values do not fit.
    #[error("parameter `{parameter}`: expected {expected}, found {found}. {remedy}")]
    Parameter {
        /// The parameter's name.
        parameter: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A group index, a changed rule or a group's setting does not fit the optimizer.
    #[error("group {group}: expected {expected}, found {found}. {remedy}")]
    Group {
        /// The group's index, counted from 0 in the order the groups were added.
        group: usize,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// Something was asked of an optimizer that was built without it.
    #[error("expected {expected}. {remedy}")]
    Setting {
        /// What was expected.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// A rule's WGSL does not fit its Rust side, or does not compile.
    #[error("rule `{rule}`: {problem}")]
    Rule {
        /// The rule's name.
        rule: String,
        /// What is wrong, where, and what kernels expect.
        problem: String,
    },
    /// The device cannot do what the optimizer needs.
    #[error("the device offers {found} of `{limit}`, but {needed} is needed: {reason}. {remedy}")]
    Limit {
        /// The limit's name in
        /// [`wgpu::Limits`](https://docs.rs/wgpu/latest/wgpu/struct.Limits.html).
        limit: &'static str,
        /// The value needed.
        needed: u64,
        /// The device's value.
        found: u64,
        /// What needs it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// The device was lost: destroyed, removed, or given up by its driver.
    #[error(
        "the device was lost, as was found while {during}: expected a device that works. Request \
         another, create your buffers anew, and build the optimizer on it"
    )]
    Lost {
        /// What was being done.
        during: &'static str,
    },
    /// The device's memory is full.
    #[error(
        "the device has no memory left, while {during}: {needed}. Free memory, train fewer \
         parameters, or choose a rule with fewer states; the device is unharmed"
    )]
    OutOfMemory {
        /// What was being done.
        during: &'static str,
        /// What memory is needed for, and how much.
        needed: String,
    },
    /// A checkpoint's file cannot be read or written, or is no checkpoint.
    #[error("`{file}`: expected {expected}, found {found}. {remedy}")]
    File {
        /// Its path, or what it is.
        file: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A checkpoint does not fit the optimizer.
    #[error("checkpoint `{file}` does not fit:{}", listed(problems))]
    Checkpoint {
        /// Its path, or what it is.
        file: String,
        /// All that does not fit.
        problems: Vec<Error>,
    },
    /// wgpu refused to create something, or a value could not be read back.
    #[error("wgpu, while {during}: {message}. Correct what is said there; the device is unharmed")]
    Device {
        /// What was being done.
        during: &'static str,
        /// wgpu's own message.
        message: String,
    },
}

/// A line for each of the first problems, and how many more there are.
fn listed(problems: &[Error]) -> String {
    const MOST: usize = 20;
    let mut lines: Vec<_> = problems.iter().take(MOST).map(|each| format!("\n- {each}")).collect();
    if problems.len() > MOST {
        lines.push(format!("\nand {} more", problems.len() - MOST));
    }
    lines.concat()
}

impl Error {
    pub(crate) fn file(
        file: impl Display,
        expected: impl Display,
        found: impl Display,
        remedy: impl Display,
    ) -> Self {
        Self::File {
            file: file.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
            remedy: remedy.to_string(),
        }
    }

    pub(crate) fn parameter(
        parameter: impl Display,
        expected: impl Display,
        found: impl Display,
        remedy: impl Display,
    ) -> Self {
        Self::Parameter {
            parameter: parameter.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
            remedy: remedy.to_string(),
        }
    }

    pub(crate) fn group(
        group: usize,
        expected: impl Display,
        found: impl Display,
        remedy: impl Display,
    ) -> Self {
        Self::Group {
            group,
            expected: expected.to_string(),
            found: found.to_string(),
            remedy: remedy.to_string(),
        }
    }

    pub(crate) fn rule(rule: impl Display, problem: impl Display) -> Self {
        Self::Rule { rule: rule.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn device(during: &'static str, message: impl Display) -> Self {
        Self::Device { during, message: message.to_string().trim_end().to_owned() }
    }
}

/// Whether f32 holds a number with all its digits: GPUs may take smaller ones for 0.
pub(crate) fn is_normal_f32(value: f64) -> bool {
    (value as f32).is_normal()
}

/// Checks a rule's hyperparameters one by one, and keeps the first that fails.
///
/// ```
/// use wgpu_optim::Check;
/// let refused = Check::new("MyRule").non_negative("lr", 0.1).decay_rate("beta", 1.5).finish();
/// let message = refused.unwrap_err().to_string();
/// assert!(message.starts_with("MyRule: `beta` must be in [0, 1), but is 1.5."));
/// ```
#[derive(Debug, Clone)]
#[must_use = "the result comes by `finish`"]
pub struct Check<'a> {
    rule: &'a str,
    failure: Option<Error>,
}

impl<'a> Check<'a> {
    /// Starts the checks of the rule of this name.
    pub fn new(rule: &'a str) -> Self {
        Self { rule, failure: None }
    }

    /// Refuses a value for which `holds` is false.
    pub fn that(
        mut self,
        holds: bool,
        parameter: &str,
        expected: &str,
        found: impl Display,
        remedy: &str,
    ) -> Self {
        if !holds && self.failure.is_none() {
            self.failure = Some(Error::Hyperparameter {
                rule: self.rule.into(),
                parameter: parameter.into(),
                expected: expected.into(),
                found: found.to_string(),
                remedy: remedy.into(),
            });
        }
        self
    }

    /// A number of 0 or more, finite as an f32 too: learning rates, weight decay. One too small for
    /// f32 does what 0 does, as at the end of a schedule.
    pub fn non_negative(self, parameter: &str, value: f64) -> Self {
        self.that(
            value.is_finite() && value >= 0.0,
            parameter,
            "a finite number of at least 0",
            value,
            "Give such a value; to ascend instead of descend, set `maximize`",
        )
        .finite_as_f32(parameter, value)
    }

    /// The same where a number that f32 rounds to 0 would not do what it is for, as eps, which
    /// keeps a divisor from 0. 0 itself is taken as meant.
    pub fn not_vanishing(self, parameter: &str, value: f64) -> Self {
        self.non_negative(parameter, value).that(
            value == 0.0 || is_normal_f32(value),
            parameter,
            "0 or at least 1.2e-38, the smallest number that every GPU keeps apart from 0",
            format!("{value:e}, of which f32 makes {:e}", value as f32),
            "Steps are computed in f32: give a larger number, or 0 if that is meant",
        )
    }

    /// A rate in [0, 1), as an f32 too: the betas, alpha.
    pub fn decay_rate(self, parameter: &str, value: f64) -> Self {
        self.that(
            (0.0..1.0).contains(&value),
            parameter,
            "in [0, 1)",
            value,
            "Give the share of the old average that a step keeps, such as 0.9",
        )
        .that(
            (value as f32) < 1.0,
            parameter,
            "below 1 as an f32, at most 0.99999994",
            format!("{value:?}, of which f32 makes 1"),
            "Steps are computed in f32, where the average would never move: give a smaller number",
        )
    }

    /// A number that f32 holds.
    pub(crate) fn finite_as_f32(self, parameter: &str, value: f64) -> Self {
        self.that(
            (value as f32).is_finite(),
            parameter,
            "at most 3.4e38, the largest f32",
            format!("{value:e}, of which f32 makes {}", value as f32),
            "Steps are computed in f32: give a smaller number",
        )
    }

    /// Ends the checks.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn finish(self) -> Result<(), Error> {
        self.failure.map_or(Ok(()), Err)
    }
}
