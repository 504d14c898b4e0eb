//! The decision about a step: what gradients are multiplied by, whether the step is skipped, and
//! how the loss scale moves. `shaders/passes/decide.wgsl` is the twin: both compute by the same
//! recorded arithmetic.

use crate::control::scaler::{GradScaler, MAX_SCALE};
use crate::control::settings::{Control, NormType};
use crate::error::Error;
use crate::layout::sums::root_of_squares;
use crate::layout::words::words;
use crate::rule::{Fields, Number, Program};

words! {
    /// What was decided about a step, for all groups, as update kernels read it.
    pub(crate) struct Verdict {
        /// What every gradient is multiplied by.
        factor: f32,
        /// The largest magnitude that an element of a gradient keeps.
        limit: f32,
        /// Whether the step changes nothing.
        skip: u32,
    }
}

impl Control {
    /// The verdict about a step that needs no measures.
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict { factor: (1.0 / self.divisor()) as f32, limit: self.limit() as f32, skip: 0 }
    }
}

/// What is known of all gradients, as they arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Measure {
    /// The sum of the squares of those that are finite, and the largest magnitude among them.
    pub(crate) squares: f64,
    pub(crate) largest: f64,
    pub(crate) non_finite: u64,
    pub(crate) nan: u64,
}

impl Measure {
    /// Takes in one element.
    pub(crate) fn add(&mut self, g: f64) {
        if g.is_finite() {
            self.squares += g * g;
            self.largest = self.largest.max(g.abs());
        } else {
            self.non_finite += 1;
            self.nan += u64::from(g.is_nan());
        }
    }
}

/// The loss scale, and what moves it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub(crate) scale: f32,
    /// Good steps since the scale last changed.
    pub(crate) growth_tracker: u32,
    /// Steps skipped in all.
    pub(crate) skipped: u64,
    /// Steps skipped since the latest good one.
    pub(crate) skipped_in_row: u64,
    /// Steps decided on, skipped ones too.
    pub(crate) steps: u64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { scale: 1.0, growth_tracker: 0, skipped: 0, skipped_in_row: 0, steps: 0 }
    }
}

impl Scale {
    pub(crate) fn new(control: &Control) -> Self {
        let scale = control.scaler.map_or(1.0, |scaler| scaler.init_scale);
        Self { scale, ..Self::default() }
    }

    /// Moves the scale after a step.
    fn update(&mut self, scaler: Option<&GradScaler>, computed: &Computed<f64>, skip: bool) {
        self.steps += 1;
        self.skipped += u64::from(skip);
        self.skipped_in_row = if skip { self.skipped_in_row + 1 } else { 0 };
        let Some(scaler) = scaler else { return };
        if skip {
            self.scale = computed.backed_off as f32;
            self.growth_tracker = 0;
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
    pub(crate) skip: bool,
    /// What every gradient is multiplied by.
    pub(crate) factor: f64,
    /// The norm of all gradients, unscaled and averaged.
    pub(crate) norm: f64,
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
        /// sums of squares: of small elements times 2⁸⁰, of middling ones, and of large ones times
        /// 2⁻⁸⁰
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
    pub(crate) fn compute<N: Number>(&self, known: &Known<N>) -> Computed<N> {
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
    pub(crate) fn record(&self, program: &mut Program) -> Result<(), Error> {
        let tape = program.restart();
        let known = Known::from_fn(|index| tape.input(index));
        self.compute(&known).each(|_, x| program.coeff(x));
        program.finish("control", tape)
    }

    /// Decides on a step, and moves the scale. `representable` tells which numbers the gradients'
    /// type holds.
    pub(crate) fn decide(
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
        let skip = self.skips() && !finite;
        scale.update(self.scaler.as_ref(), &computed, skip);
        Decision { skip, factor: computed.factor, norm: computed.norm }
    }
}
