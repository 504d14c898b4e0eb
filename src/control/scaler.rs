//! Loss scaling.

use crate::error::{Check, Error};

/// Loss scaling as PyTorch's `GradScaler` does it, for gradients that would underflow in a small
/// format.
///
/// The engine multiplies its loss by the scale S, and so all gradients arrive multiplied by S. A
/// step divides them by S, and if any is then infinite or NaN, the whole step is skipped: no
/// parameter, no state and no step count changes.
///
/// ```text
/// after a skipped step:              S ← max(S · backoff_factor, min_scale)
/// after growth_interval good steps:  S ← S · growth_factor, unless that is above 2¹²⁶
/// ```
///
/// Names and defaults are PyTorch's, but for `min_scale`, which PyTorch has not, and the bound
/// 2¹²⁶, where PyTorch has infinity. PyTorch tests gradients before it divides; here a quotient
/// that overflows is skipped too. Micikevicius et al., *Mixed precision training*, ICLR 2018.
///
/// # One loss, several models
///
/// Each optimizer moves a scale of its own, and a loss can have only one: two optimizers with
/// scales that move drift apart after the first gradient that is infinite in one of them. Where
/// PyTorch has one scaler for an encoder's optimizer and a decoder's, have one optimizer with a
/// group for each. Groups may have different rules and schedules, and a model that takes no part in
/// a step is frozen for it:
///
/// ```
/// use wgpu_optim::{AdamW, CpuOptimizer, GradScaler, SGD};
/// let mut optimizer = CpuOptimizer::<f32>::builder()
///     .group(AdamW::default(), [("encoder", 2)])
///     .group(SGD::default(), [("decoder", 2)])
///     .grad_scaler(GradScaler::default())
///     .build()?;
/// optimizer.set_grad("encoder", &[f32::INFINITY, 0.0])?;
/// optimizer.set_grad("decoder", &[65_536.0, 0.0])?;
/// optimizer.step()?;
/// assert_eq!(optimizer.loss_scale()?, 32_768.0);
/// assert_eq!(optimizer.param("decoder")?[0], 0.0); // skipped with the encoder
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
///
/// The step is skipped whole, and a norm to clip by is that of both. PyTorch would update the model
/// whose gradients are finite: so do two optimizers with the same scale that stays as it is
/// ([`GradScaler::constant`]), each of which skips by its own gradients. Models with losses of
/// their own, as in a GAN, are two optimizers with a moving scale each: multiply each loss by its
/// own.
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
pub(crate) const MAX_SCALE: f32 = f32::from_bits(0x7e80_0000);

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
    /// A scale that stays as it is.
    pub fn constant(scale: f32) -> Self {
        Self {
            init_scale: scale,
            growth_factor: 1.0,
            backoff_factor: 1.0,
            min_scale: scale,
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
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
