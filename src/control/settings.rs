//! What an optimizer was asked to do around its steps.

use crate::control::scaler::GradScaler;
use crate::error::{Check, Error, is_normal_f32};

/// Which norm of all gradients is held below a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormType {
    /// The root of the sum of all squares.
    L2,
    /// The largest magnitude.
    Max,
}

/// What an optimizer was asked to do around its steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Control {
    pub(crate) clip_norm: Option<(NormType, f64)>,
    pub(crate) clip_value: Option<f64>,
    pub(crate) scaler: Option<GradScaler>,
    /// Steps with an infinite or NaN gradient are skipped even without a scaler.
    pub(crate) skip_non_finite: bool,
    pub(crate) zero_grad: bool,
    pub(crate) statistics: bool,
    /// Gradients are sums over so many micro-batches; 0 stands for 1, the default.
    pub(crate) micro_batches: u32,
}

impl Control {
    /// Whether something must be known of all gradients before any parameter is updated.
    pub(crate) fn decides(&self) -> bool {
        self.clip_norm.is_some() || self.skips() || self.statistics
    }

    /// Whether a step with an infinite or NaN gradient is skipped.
    pub(crate) fn skips(&self) -> bool {
        self.scaler.is_some() || self.skip_non_finite
    }

    /// The largest magnitude that an element of a gradient keeps.
    pub(crate) fn limit(&self) -> f64 {
        self.clip_value.unwrap_or(f64::INFINITY)
    }

    /// What gradients are divided by, beside the scale.
    pub(crate) fn divisor(&self) -> f64 {
        f64::from(self.micro_batches.max(1))
    }

    /// Refuses a step in parts where something must be known of all gradients first.
    pub(crate) fn check_parts(&self) -> Result<(), Error> {
        let asked = match self {
            Self { clip_norm: Some((NormType::L2, _)), .. } => "clip_grad_norm",
            Self { clip_norm: Some((NormType::Max, _)), .. } => "clip_grad_norm_max",
            Self { scaler: Some(_), .. } => "grad_scaler",
            Self { skip_non_finite: true, .. } => "skip_non_finite",
            Self { statistics: true, .. } => "statistics",
            _ => return Ok(()),
        };
        Err(Error::Setting {
            expected: format!(
                "an optimizer that was built without `{asked}`, which must know all gradients \
                 before the first parameter is updated; a step in parts never has them all"
            ),
            remedy: "Take whole steps by `step`, or build without it: `clip_grad_value`, \
                     `zero_grad` and `set_micro_batches` work in parts"
                .into(),
        })
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if let Some((_, max_norm)) = self.clip_norm {
            limit("clip_grad_norm", max_norm)?;
        }
        if let Some(value) = self.clip_value {
            limit("clip_grad_value", value)?;
        }
        self.scaler.map_or(Ok(()), |scaler| scaler.validate())
    }

    /// Changes the largest norm that gradients keep.
    pub(crate) fn set_clip_norm(&mut self, max_norm: f64) -> Result<(), Error> {
        let asked = "an optimizer that was built with `clip_grad_norm` or `clip_grad_norm_max`";
        let Some((_, old)) = &mut self.clip_norm else { return Err(not_asked(asked)) };
        limit("clip_grad_norm", max_norm)?;
        *old = max_norm;
        Ok(())
    }

    /// Changes the largest magnitude that an element keeps.
    pub(crate) fn set_clip_value(&mut self, value: f64) -> Result<(), Error> {
        let asked = "an optimizer that was built with `clip_grad_value`";
        let Some(old) = &mut self.clip_value else { return Err(not_asked(asked)) };
        limit("clip_grad_value", value)?;
        *old = value;
        Ok(())
    }

    pub(crate) fn set_micro_batches(&mut self, count: u32) -> Result<(), Error> {
        let remedy = "Give the number of backward passes that a step's gradients are the sum of";
        Check::new("Optimizer")
            .that(count > 0, "micro_batches", "at least 1", count, remedy)
            .finish()?;
        self.micro_batches = count;
        Ok(())
    }

    pub(crate) fn scaler(&self) -> Result<&GradScaler, Error> {
        let asked = "an optimizer that was built with `grad_scaler`";
        self.scaler.as_ref().ok_or_else(|| not_asked(asked))
    }
}

fn limit(parameter: &str, value: f64) -> Result<(), Error> {
    Check::new("Optimizer")
        .that(
            value > 0.0 && is_normal_f32(value),
            parameter,
            "a finite number above 0 that f32 holds, from 1.2e-38 to 3.4e38",
            value,
            "Give the largest norm or magnitude to keep; to clip nothing, leave it out",
        )
        .finish()
}

fn not_asked(expected: &str) -> Error {
    Error::Setting {
        expected: expected.into(),
        remedy: "Ask for it when the optimizer is built; its numbers may change later".into(),
    }
}
