//! An optimizer's snapshot.

use crate::checkpoint::snapshot::{
    ControlSnapshot, GroupSnapshot, HyperparameterValue, ParameterSnapshot, ScalerSnapshot,
    Snapshot, VERSION, format_name, keeping_name,
};
use crate::control::{Control, NormType, Scale};
use crate::model::{Group, Model};
use crate::optimizer::Head;
use crate::rule::{DynRule, Hyperparameter};
use std::collections::BTreeMap;

/// What there is to tell of an optimizer, by what its engine told.
pub(super) fn describe(model: &Model, control: &Control, head: &Head) -> Snapshot {
    let Scale { skipped, skipped_in_row, steps, .. } = head.scale;
    let names = |holds: &dyn Fn(usize) -> bool| {
        let params = (0..model.params.len()).filter(|&param| holds(param));
        params.map(|param| model.name(param).to_owned()).collect::<Vec<_>>()
    };
    Snapshot {
        version: VERSION,
        written_by: env!("CARGO_PKG_VERSION").into(),
        groups: model.groups.iter().zip(members(model)).map(group).collect(),
        parameters: (0..model.params.len()).map(|param| parameter(model, head, param)).collect(),
        frozen: names(&|param| model.is_frozen(param)),
        control: around(control),
        scaler: scaler(control, &head.scale),
        skipped,
        skipped_in_row,
        steps,
        user: BTreeMap::new(),
    }
}

/// The names of each group's parameters.
fn members(model: &Model) -> Vec<Vec<String>> {
    let mut members = vec![Vec::new(); model.groups.len()];
    for (param, member) in model.params.iter().enumerate() {
        members[member.group].push(model.name(param).to_owned());
    }
    members
}

fn group((Group { rule, lr_multiplier }, params): (&Group, Vec<String>)) -> GroupSnapshot {
    let options = rule.options().into_iter().map(|(name, on)| (name.to_owned(), on)).collect();
    GroupSnapshot {
        rule: rule.name().into(),
        lr_multiplier: *lr_multiplier,
        options,
        hyperparameters: hyperparameters(rule.as_ref()),
        params,
    }
}

/// A rule's hyperparameters; the learning rate even of a rule that tells none.
fn hyperparameters(rule: &dyn DynRule) -> BTreeMap<String, HyperparameterValue> {
    let mut rule = rule.boxed();
    let lr = ("lr".to_owned(), HyperparameterValue::Number(rule.lr()));
    let value = |hyperparameter: Hyperparameter<'_>| match hyperparameter {
        Hyperparameter::Flag(flag) => HyperparameterValue::Flag(*flag),
        Hyperparameter::Number(number) => HyperparameterValue::Number(*number),
        Hyperparameter::Pair(pair) => HyperparameterValue::Pair([pair.0, pair.1]),
        Hyperparameter::Triple((a, b, c)) => HyperparameterValue::Triple([*a, *b, *c]),
    };
    let told = rule.hyperparameters().into_iter();
    std::iter::once(lr).chain(told.map(|(name, told)| (name.to_owned(), value(told)))).collect()
}

fn parameter(model: &Model, head: &Head, param: usize) -> ParameterSnapshot {
    let (member, rule) = (&model.params[param], model.rule_of(param));
    let (steps, scalars) = &head.counts[param];
    let names = rule.scalars().into_iter().map(|scalar| scalar.name.to_owned());
    let states = member.formats.arrays(rule).into_iter();
    let format = |codec| format_name(codec).to_owned();
    ParameterSnapshot {
        name: model.name(param).into(),
        shape: member.shape.sizes().into(),
        param: format(member.formats.param),
        grad: format(member.formats.grad),
        keeping: keeping_name(member.formats.keeping).map(Into::into),
        noise_key: member.noise_key,
        states: states.map(|(state, codec)| (state.name.into(), format(codec))).collect(),
        steps: *steps,
        scalars: names.zip(scalars.iter().copied()).collect(),
    }
}

fn around(control: &Control) -> ControlSnapshot {
    let norm = |(norm, limit)| (norm_name(norm).to_owned(), limit);
    ControlSnapshot {
        clip_grad_norm: control.clip_norm.map(norm),
        clip_grad_value: control.clip_value,
        skip_non_finite: control.skip_non_finite,
        zero_grad: control.zero_grad,
        statistics: control.statistics,
        micro_batches: control.micro_batches.max(1),
    }
}

/// A norm's name in a snapshot.
pub(super) fn norm_name(norm: NormType) -> &'static str {
    match norm {
        NormType::L2 => "l2",
        NormType::Max => "max",
    }
}

fn scaler(control: &Control, scale: &Scale) -> Option<ScalerSnapshot> {
    control.scaler.map(|scaler| ScalerSnapshot {
        scale: scale.scale,
        growth_factor: scaler.growth_factor,
        backoff_factor: scaler.backoff_factor,
        growth_interval: scaler.growth_interval,
        min_scale: Some(scaler.min_scale),
        growth_tracker: scale.growth_tracker,
    })
}
