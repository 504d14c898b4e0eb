//! What is asked for around the steps.

use crate::machine::twins::Control;
use wgpu_optim::optimizer::{Builder, Engine};
use wgpu_optim::{Cpu, GradScaler, Real};

/// What is asked for around the steps.
#[derive(Debug, Clone, Copy)]
pub enum Around {
    Nothing,
    Zeroing,
    Value,
    Norm,
    Skipping,
    Scaling,
}

pub const AROUND: [Around; 6] = [
    Around::Nothing,
    Around::Zeroing,
    Around::Value,
    Around::Norm,
    Around::Skipping,
    Around::Scaling,
];

impl Around {
    pub fn apply<E: Engine>(self, builder: Builder<E>) -> Builder<E> {
        let scaler = GradScaler { init_scale: 8.0, growth_interval: 3, ..Default::default() };
        match self {
            Self::Nothing => builder,
            Self::Zeroing => builder.zero_grad(),
            Self::Value => builder.clip_grad_value(2.0),
            Self::Norm => builder.clip_grad_norm(5.0),
            Self::Skipping => builder.skip_non_finite().statistics(),
            Self::Scaling => {
                builder.grad_scaler(scaler).clip_grad_norm(5.0).statistics().zero_grad()
            }
        }
    }

    pub fn skips(self) -> bool {
        matches!(self, Self::Skipping | Self::Scaling)
    }

    pub fn zeroes(self) -> bool {
        matches!(self, Self::Zeroing | Self::Scaling)
    }

    pub fn decides(self) -> bool {
        self.skips() || matches!(self, Self::Norm)
    }
}

impl Control for Around {
    fn control<T: Real>(&self, builder: Builder<Cpu<T>>) -> Builder<Cpu<T>> {
        self.apply(builder)
    }
}
