//! What surrounds a step: clipping, loss scaling, skipping. The settings, and the decision as the CPU
//! takes it; `shaders/driver/control.wgsl` is its twin.

use crate::error::{Check, Error};
use crate::number::Number;
use crate::program::Program;
use crate::reduction::root_of_squares;
use crate::rule::{Before, Fields};

/// Loss scaling as PyTorch's `GradScaler` does it, for gradients that would underflow in a small format.
///
/// The engine multiplies its loss by the scale S, and so all gradients arrive multiplied by S. A step divides
/// them by S, and if any is then infinite or NaN, the whole step is skipped: no parameter, no state and
/// no step count changes.
///
/// ```text
/// after a skipped step:              S ← max(S · backoff_factor, min_scale)
/// after growth_interval good steps:  S ← S · growth_factor, unless that is above 2¹²⁶
/// ```
///
/// Names and defaults are PyTorch's, but for `min_scale`, which PyTorch has not, and the bound 2¹²⁶, where PyTorch
/// has infinity. PyTorch tests gradients before it divides; here a quotient that overflows is skipped too.
/// Micikevicius et al., *Mixed precision training*, ICLR 2018.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradScaler {
    /// The scale before the first step, from `min_scale` to 2¹²⁶. Default 2¹⁶.
    pub init_scale: f32,
    /// What the scale grows by, at least 1. Default 2.
    pub growth_factor: f64,
    /// What the scale is multiplied by after a skipped step, in (0, 1]. Default ½.
    pub backoff_factor: f64,
    /// How many good steps in a row let the scale grow, at least 1. Default 2000.
    pub growth_interval: u32,
    /// The scale never backs off below this, above 0. Default 1.
    pub min_scale: f32,
}

/// The largest scale, 2¹²⁶: a larger one's reciprocal is subnormal, and a GPU may take it for 0.
const MAX_SCALE: f32 = f32::from_bits(0x7e80_0000);

impl Default for GradScaler {
    fn default() -> Self {
        Self {
            init_scale: 65_536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            min_scale: 1.0,
        }
    }
}

impl GradScaler {
    /// A scale that stays as it is; 1 if the loss is not scaled and steps with non-finite gradients shall be
    /// skipped.
    pub fn constant(scale: f32) -> Self {
        Self {
            init_scale: scale,
            growth_factor: 1.0,
            backoff_factor: 1.0,
            min_scale: scale,
            ..Self::default()
        }
    }

    fn validate(&self) -> Result<(), Error> {
        let Self { init_scale, growth_factor, backoff_factor, growth_interval, min_scale } = *self;
        let remedy = "Give such a number, as PyTorch's GradScaler wants it";
        let scale = |x: f32| (f32::MIN_POSITIVE..=MAX_SCALE).contains(&x);
        Check::new("GradScaler")
            .that(scale(min_scale), "min_scale", "a positive number", min_scale, remedy)
            .that(
                scale(init_scale) && init_scale >= min_scale,
                "init_scale",
                "from `min_scale` to 2^126",
                init_scale,
                remedy,
            )
            .that(
                growth_factor.is_finite() && growth_factor >= 1.0,
                "growth_factor",
                "a finite number of at least 1",
                growth_factor,
                remedy,
            )
            .that(
                backoff_factor > 0.0 && backoff_factor <= 1.0,
                "backoff_factor",
                "in (0, 1]",
                backoff_factor,
                remedy,
            )
            .that(growth_interval > 0, "growth_interval", "at least 1", growth_interval, remedy)
            .finish()
    }
}

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
pub(crate) struct Control {
    pub clip_norm: Option<(NormType, f64)>,
    pub clip_value: Option<f64>,
    pub scaler: Option<GradScaler>,
    pub zero_grad: bool,
    pub statistics: bool,
    /// Gradients are sums over so many micro-batches; 0 stands for 1, the default.
    pub micro_batches: u32,
}

impl Control {
    /// Whether something must be known of all gradients before any parameter is updated.
    pub fn decides(&self) -> bool {
        self.clip_norm.is_some() || self.scaler.is_some() || self.statistics
    }

    /// What gradients are divided by, beside the scale.
    pub fn divisor(&self) -> f64 {
        f64::from(self.micro_batches.max(1))
    }

    pub fn validate(&self) -> Result<(), Error> {
        if let Some((_, max_norm)) = self.clip_norm {
            limit("clip_grad_norm", max_norm)?;
        }
        if let Some(value) = self.clip_value {
            limit("clip_grad_value", value)?;
        }
        self.scaler.map_or(Ok(()), |scaler| scaler.validate())
    }

    /// Changes the largest norm that gradients keep.
    pub fn set_clip_norm(&mut self, max_norm: f64) -> Result<(), Error> {
        let asked = "an optimizer that was built with `clip_grad_norm` or `clip_grad_norm_max`";
        let Some((_, old)) = &mut self.clip_norm else { return Err(not_asked(asked)) };
        limit("clip_grad_norm", max_norm)?;
        *old = max_norm;
        Ok(())
    }

    /// Changes the largest magnitude that an element keeps.
    pub fn set_clip_value(&mut self, value: f64) -> Result<(), Error> {
        let asked = "an optimizer that was built with `clip_grad_value`";
        let Some(old) = &mut self.clip_value else { return Err(not_asked(asked)) };
        limit("clip_grad_value", value)?;
        *old = value;
        Ok(())
    }

    pub fn set_micro_batches(&mut self, count: u32) -> Result<(), Error> {
        let remedy = "Give the number of backward passes that a step's gradients are the sum of";
        Check::new("Optimizer")
            .that(count > 0, "micro_batches", "at least 1", count, remedy)
            .finish()?;
        self.micro_batches = count;
        Ok(())
    }

    pub fn scaler(&self) -> Result<&GradScaler, Error> {
        let asked = "an optimizer that was built with `grad_scaler`";
        self.scaler.as_ref().ok_or_else(|| not_asked(asked))
    }
}

fn limit(parameter: &str, value: f64) -> Result<(), Error> {
    Check::new("Optimizer")
        .that(
            value > 0.0 && (value as f32).is_finite(),
            parameter,
            "a finite number above 0",
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

impl Control {
    /// Gives coefficients what the optimizer adds: the factor of all gradients, and the elements' limit.
    pub fn shape(&self, coeffs: &mut [f64], factor: f64) {
        coeffs[Before::SIGN] *= factor;
        coeffs[Before::LIMIT] = self.clip_value.unwrap_or(f64::INFINITY);
    }
}

/// What is known of all gradients, as they arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Measure {
    /// The sum of the squares of those that are finite, and the largest magnitude among them.
    pub squares: f64,
    pub largest: f64,
    pub non_finite: u64,
    pub nan: u64,
}

impl Measure {
    /// Takes in one element.
    pub fn add(&mut self, g: f64) {
        if g.is_finite() {
            self.squares += g * g;
            self.largest = self.largest.max(g.abs());
        } else {
            self.non_finite += 1;
            self.nan += u64::from(g.is_nan());
        }
    }
}

/// The scale of the loss, and how it has fared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub scale: f32,
    /// Good steps since the scale last changed.
    pub growth_tracker: u32,
    /// Steps skipped in all.
    pub skipped: u64,
}

impl Scale {
    pub fn new(control: &Control) -> Self {
        let scale = control.scaler.map_or(1.0, |scaler| scaler.init_scale);
        Self { scale, growth_tracker: 0, skipped: 0 }
    }

    /// Moves the scale after a step.
    fn update(&mut self, scaler: &GradScaler, computed: &Computed<f64>, skip: bool) {
        if skip {
            self.scale = computed.backed_off as f32;
            self.growth_tracker = 0;
            self.skipped += 1;
            return;
        }
        self.growth_tracker += 1;
        if self.growth_tracker == scaler.growth_interval {
            let grown = computed.grown as f32;
            self.scale = if grown <= MAX_SCALE { grown } else { self.scale };
            self.growth_tracker = 0;
        }
    }
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decision {
    pub skip: bool,
    /// What every gradient is multiplied by.
    pub factor: f64,
    /// The norm of all gradients, unscaled and averaged.
    pub norm: f64,
}

/// PyTorch's, which keeps the quotient finite where all gradients are 0.
const CLIP_EPS: f64 = 1e-6;

crate::fields! {
    /// What a decision is computed from.
    pub(crate) struct Known {
        /// the loss scale
        scale,
        /// the largest magnitude
        largest,
        /// sums of squares: of small elements times 2⁸⁰, of middling ones, and of large ones times 2⁻⁸⁰
        small,
        middling,
        large,
        /// 0, or infinite or NaN as the worst element
        spoilt,
    }
}

crate::fields! {
    /// What is computed of it.
    pub(crate) struct Computed {
        /// what gradients are divided by
        divisor,
        /// the largest magnitude, divided
        largest,
        /// the norm, divided
        norm,
        /// what clipping multiplies by
        clip,
        /// what every gradient is multiplied by in all
        factor,
        /// the scale after a skipped step, and after enough good ones
        backed_off,
        grown,
    }
}

impl Control {
    /// The arithmetic of a decision, the same on CPU and GPU.
    pub fn compute<N: Number>(&self, known: &Known<N>) -> Computed<N> {
        let scaler = self.scaler.unwrap_or_default();
        let one = N::from(1.0);
        let divisor = known.scale * self.divisor().into();
        let raw = match self.clip_norm {
            Some((NormType::Max, _)) => known.largest,
            _ => root_of_squares(known.small, known.middling, known.large),
        };
        let norm = (raw + known.spoilt) / divisor;
        let clip = match self.clip_norm {
            // Written so that a NaN stays one, as in PyTorch.
            Some((_, max_norm)) => {
                let clip = N::from(max_norm) / (norm + CLIP_EPS.into());
                clip.if_above(one, one, clip)
            }
            None => one,
        };
        let min_scale = N::from(scaler.min_scale.into());
        let backed_off = known.scale * scaler.backoff_factor.into();
        Computed {
            divisor,
            largest: known.largest / divisor,
            norm,
            clip,
            factor: clip / divisor,
            backed_off: backed_off.if_above(min_scale, backed_off, min_scale),
            grown: known.scale * scaler.growth_factor.into(),
        }
    }

    /// The same as a program, for the GPU; it takes the place of what the program was.
    ///
    /// # Errors
    /// It is too long.
    pub fn record(&self, program: &mut Program) -> Result<(), Error> {
        let tape = program.restart();
        let known = Known::from_fn(|index| tape.input(index));
        self.compute(&known).each(|_, x| program.coeff(x));
        program.finish("control", tape)
    }

    /// Decides on a step, and moves the scale. `representable` tells which numbers the gradients' type
    /// holds.
    pub fn decide(
        &self,
        scale: &mut Scale,
        measure: &Measure,
        representable: impl Fn(f64) -> bool,
    ) -> Decision {
        let spoilt = match (measure.nan, measure.non_finite) {
            (0, 0) => 0.0,
            (0, _) => f64::INFINITY,
            _ => f64::NAN,
        };
        let known = Known {
            scale: f64::from(scale.scale),
            largest: measure.largest,
            small: 0.0,
            middling: measure.squares,
            large: 0.0,
            spoilt,
        };
        let computed = self.compute(&known);
        let finite = measure.non_finite == 0 && representable(computed.largest);
        let skip = self.scaler.is_some() && !finite;
        if let Some(scaler) = &self.scaler {
            scale.update(scaler, &computed, skip);
        }
        Decision { skip, factor: computed.factor, norm: computed.norm }
    }
}
