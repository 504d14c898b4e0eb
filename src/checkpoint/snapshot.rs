//! Everything that decides the rest of a run beside the arrays, as plain data.

use crate::model::{Codec, Keeping};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format. A reader refuses later ones.
pub(super) const VERSION: u32 = 1;

/// An optimizer's settings and counts: with the arrays of a checkpoint all that decides how a run
/// goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of the format, 1.
    pub version: u32,
    /// The version of this crate that wrote it.
    #[serde(rename = "crate")]
    pub written_by: String,
    /// Every group.
    pub groups: Vec<GroupSnapshot>,
    /// Every parameter.
    pub parameters: Vec<ParameterSnapshot>,
    /// The parameters that steps leave alone.
    pub frozen: Vec<String>,
    /// What happens around steps.
    pub control: ControlSnapshot,
    /// The loss scale, if there is one.
    pub scaler: Option<ScalerSnapshot>,
    /// Steps skipped in all.
    pub skipped: u64,
    /// Steps skipped since the latest good one.
    pub skipped_in_row: u64,
    /// Steps in all, skipped ones too, where gradients are measured.
    pub steps: u64,
    /// The caller's own entries.
    #[serde(skip)]
    pub user: BTreeMap<String, String>,
}

/// A group: its rule with all hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// The rule's name.
    pub rule: String,
    /// What `set_base_lr` multiplies the learning rate by.
    pub lr_multiplier: f64,
    /// What decides the rule's kernel and states.
    pub options: BTreeMap<String, bool>,
    /// By the names that the rule tells.
    pub hyperparameters: BTreeMap<String, HyperparameterValue>,
    /// The names of its parameters.
    pub params: Vec<String>,
}

/// A hyperparameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum HyperparameterValue {
    /// A choice.
    Flag(bool),
    /// A number.
    Number(f64),
    /// Two numbers.
    Pair([f64; 2]),
    /// Three numbers.
    Triple([f64; 3]),
}

/// A parameter: its shape, how its arrays are stored, and its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParameterSnapshot {
    /// Its name.
    pub name: String,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// The parameter's format.
    pub param: String,
    /// The gradient's.
    pub grad: String,
    /// What is kept beside a 16-bit parameter: the name of the state, or `chance`.
    pub keeping: Option<String>,
    /// What rounding by chance depends on.
    pub noise_key: u32,
    /// The states' formats, by name.
    pub states: BTreeMap<String, String>,
    /// Steps that it has taken.
    #[serde(skip)]
    pub steps: u64,
    /// What its rule keeps for all elements, such as NAdam's `mu_product`.
    #[serde(skip)]
    pub scalars: BTreeMap<String, f64>,
}

/// What happens around steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlSnapshot {
    /// The norm that is clipped by, `l2` or `max`, and its limit.
    pub clip_grad_norm: Option<(String, f64)>,
    /// The largest magnitude of an element.
    pub clip_grad_value: Option<f64>,
    /// Whether non-finite steps are skipped without a scaler.
    pub skip_non_finite: bool,
    /// Whether steps zero gradients.
    pub zero_grad: bool,
    /// Whether statistics are kept.
    pub statistics: bool,
    /// What gradients are divided by.
    pub micro_batches: u32,
}

/// The loss scale and what moves it, with the names of PyTorch's `GradScaler.state_dict()`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScalerSnapshot {
    /// The scale of the next step.
    pub scale: f32,
    /// See [`GradScaler`](crate::GradScaler).
    pub growth_factor: f64,
    /// See [`GradScaler`](crate::GradScaler).
    pub backoff_factor: f64,
    /// See [`GradScaler`](crate::GradScaler).
    pub growth_interval: u32,
    /// PyTorch has none.
    pub min_scale: Option<f32>,
    /// Good steps since the scale last changed.
    #[serde(rename = "_growth_tracker")]
    pub growth_tracker: u32,
}

/// A codec's name in a snapshot.
pub(super) fn format_name(codec: Codec) -> &'static str {
    match codec {
        Codec::F32 => "f32",
        Codec::F16 => "f16",
        Codec::Bf16 => "bf16",
        Codec::I16 => "i16",
        Codec::Block8 { signed: true } => "block8",
        Codec::Block8 { signed: false } => "block8_unsigned",
    }
}

/// What is kept beside a parameter, as a snapshot names it.
pub(super) fn keeping_name(keeping: Keeping) -> Option<&'static str> {
    match keeping {
        Keeping::Chance => Some("chance"),
        keeping => keeping.state(),
    }
}

/// What is kept beside a parameter, by its name in a snapshot.
pub(super) fn keeping_of(name: Option<&str>) -> Option<Keeping> {
    let all =
        [Keeping::Nothing, Keeping::Chance, Keeping::Master, Keeping::Remainder, Keeping::Loss];
    all.into_iter().find(|&keeping| keeping_name(keeping) == name)
}
