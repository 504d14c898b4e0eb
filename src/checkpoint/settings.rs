//! Groups, control settings and loss scale: what a file says of them, held against an optimizer's.

use crate::checkpoint::describe::norm_name;
use crate::checkpoint::draft::{Draft, NewGroup, NewScale};
use crate::checkpoint::options::Options;
use crate::checkpoint::snapshot::{ControlSnapshot, HyperparameterValue, ScalerSnapshot, Snapshot};
use crate::checkpoint::told::{Told, ToldGroup};
use crate::control::{Control, GradScaler, Scale};
use crate::error::{Check, Error};
use crate::model::Model;
use crate::optimizer::{Engine, Optimizer};
use crate::rule::{DynRule, Hyperparameter};
use std::collections::BTreeMap;

/// The rules of all groups that have parameters in the file.
pub(super) fn groups(model: &Model, told: &Told, options: &Options, draft: &mut Draft) {
    let Some(groups) = &told.groups else { return };
    let of_name: BTreeMap<_, _> = groups
        .iter()
        .flat_map(|group| group.params.iter().map(move |name| (name, group)))
        .collect();
    for group in 0..model.groups.len() {
        let members = (0..model.params.len()).filter(|&param| model.params[param].group == group);
        let names: Vec<_> = members.map(|param| model.name(param).to_owned()).collect();
        let mut told = names.iter().filter_map(|name| Some((name, *of_name.get(name)?)));
        let Some((first, of_first)) = told.next() else { continue };
        let differs = |found: &ToldGroup| {
            (&found.rule, &found.values, found.lr_multiplier)
                != (&of_first.rule, &of_first.values, of_first.lr_multiplier)
        };
        match told.find(|(_, found)| differs(found)) {
            Some((other, _)) if !options.keep_hyperparameters => {
                draft.problems.push(Error::group(
                    group,
                    "parameters that have the same hyperparameters in the file",
                    format!("`{first}` and `{other}` with different ones"),
                    "Make a group of each, or call `keep_hyperparameters`",
                ));
            }
            _ => one_group(model, group, of_first, options, draft),
        }
    }
}

fn one_group(model: &Model, group: usize, told: &ToldGroup, options: &Options, draft: &mut Draft) {
    let own = &model.groups[group].rule;
    if let Some(name) = told.rule.as_deref().filter(|name| *name != own.name()) {
        return draft.problems.push(Error::group(
            group,
            format!("the rule {}", own.name()),
            format!("{name} in the file"),
            "Build the optimizer with the file's rule",
        ));
    }
    if options.keep_hyperparameters {
        return;
    }
    let mut rule = own.boxed();
    for (name, value) in &told.values {
        if let Err(error) = set(rule.as_mut(), name, *value) {
            draft.problems.push(error);
        }
    }
    match model.checked_rule(group, rule) {
        Ok(rule) => {
            draft.plan.groups.push(NewGroup { group, rule, lr_multiplier: told.lr_multiplier });
        }
        Err(error) => draft.problems.push(error),
    }
}

/// Sets a hyperparameter of this name.
fn set(rule: &mut dyn DynRule, name: &str, value: HyperparameterValue) -> Result<(), Error> {
    let refused = |rule: &dyn DynRule, expected: &str| {
        let found = format!("{value:?} in the file");
        let remedy = "Build the optimizer with the file's rule, or call `keep_hyperparameters`";
        Check::new(rule.name()).that(false, name, expected, found, remedy).finish()
    };
    let mut told = rule.hyperparameters();
    let Some((_, own)) = told.iter_mut().find(|(own, _)| *own == name) else {
        drop(told);
        // A rule need not tell any but this one.
        return match (name, value) {
            ("lr", HyperparameterValue::Number(lr)) => {
                rule.set_lr(lr);
                Ok(())
            }
            _ => refused(rule, "a hyperparameter that the rule has"),
        };
    };
    let expected = match (own, value) {
        (Hyperparameter::Number(own), HyperparameterValue::Number(value)) => {
            **own = value;
            return Ok(());
        }
        (Hyperparameter::Pair(own), HyperparameterValue::Pair([first, second])) => {
            **own = (first, second);
            return Ok(());
        }
        (Hyperparameter::Triple(own), HyperparameterValue::Triple([first, second, third])) => {
            **own = (first, second, third);
            return Ok(());
        }
        (Hyperparameter::Flag(own), HyperparameterValue::Flag(value)) => {
            **own = value;
            return Ok(());
        }
        (Hyperparameter::Number(_), _) => "a number",
        (Hyperparameter::Pair(_), _) => "two numbers",
        (Hyperparameter::Triple(_), _) => "three numbers",
        (Hyperparameter::Flag(_), _) => "true or false",
    };
    drop(told);
    refused(rule, expected)
}

/// What happens around steps, and the loss scale.
pub(super) fn around<E: Engine>(
    optimizer: &Optimizer<E>,
    told: &Told,
    options: &Options,
    draft: &mut Draft,
) {
    let mut control = optimizer.control.clone();
    if let Some(snapshot) = told.snapshot.as_ref().filter(|_| !options.keep_hyperparameters) {
        clipping(&mut control, &snapshot.control, draft);
    }
    match (&mut control.scaler, &told.scaler) {
        (Some(own), Some(found)) => {
            let constants = (!options.keep_hyperparameters).then(|| constants(own, found));
            if let Some(constants) = constants {
                *own = constants;
            }
            scale(own, found, told.snapshot.as_ref(), draft);
        }
        (None, None) => {
            let scale = told.snapshot.as_ref().map(|snapshot| counted(snapshot, Scale::default()));
            draft.plan.scale = scale.map(|scale| NewScale { scaler: None, scale });
        }
        (Some(_), None) if !options.allow_missing => draft.problems.push(Error::Setting {
            expected: "a loss scale in the file, since the optimizer was built with one".into(),
            remedy: "Start its loss scale anew by `allow_missing`".into(),
        }),
        (None, Some(_)) if !options.allow_unexpected => draft.problems.push(Error::Setting {
            expected: "an optimizer with a loss scale, since there is one in the file".into(),
            remedy: "Build it with `grad_scaler`, or ignore the file's by `allow_unexpected`"
                .into(),
        }),
        _ => {}
    }
    draft.plan.control = Some(control);
}

/// Clipping and averaging. Numbers are the file's; what there is to have numbers must agree.
fn clipping(control: &mut Control, found: &ControlSnapshot, draft: &mut Draft) {
    let norm = control.clip_norm.map(|(norm, _)| norm_name(norm));
    let found_norm = found.clip_grad_norm.as_ref().map(|(norm, _)| norm.as_str());
    let own = (norm, control.clip_value.is_some(), control.skips());
    let theirs = (
        found_norm,
        found.clip_grad_value.is_some(),
        found.skip_non_finite || control.scaler.is_some(),
    );
    if own != theirs {
        let told = |(norm, value, skips): (Option<&str>, bool, bool)| {
            let norm = norm.unwrap_or("no");
            format!(
                "clipping by {norm} norm, by value: {value}, skipping non-finite steps: {skips}"
            )
        };
        return draft.problems.push(Error::Setting {
            expected: format!("{}, as in the file, and not {}", told(theirs), told(own)),
            remedy: "Build the optimizer so, or call `keep_hyperparameters`".into(),
        });
    }
    let (new, old) = (found.clip_grad_norm.as_ref(), &mut control.clip_norm);
    if let (Some((_, limit)), Some((_, own))) = (new, old) {
        *own = *limit;
    }
    control.clip_value = found.clip_grad_value;
    control.micro_batches = found.micro_batches.max(1);
    if let Err(error) = control.validate() {
        draft.problems.push(error);
    }
}

/// A scaler with the file's constants.
fn constants(own: &GradScaler, found: &ScalerSnapshot) -> GradScaler {
    GradScaler {
        init_scale: own.init_scale,
        growth_factor: found.growth_factor,
        backoff_factor: found.backoff_factor,
        growth_interval: found.growth_interval,
        min_scale: found.min_scale.unwrap_or(own.min_scale),
    }
}

/// The scale itself.
fn scale(own: &GradScaler, found: &ScalerSnapshot, snapshot: Option<&Snapshot>, draft: &mut Draft) {
    let scaler = GradScaler { init_scale: found.scale, ..*own };
    let remedy = "Take another copy, or build the optimizer with constants that fit";
    let tracked = Check::new("GradScaler").that(
        found.growth_tracker < own.growth_interval,
        "_growth_tracker",
        "below growth_interval",
        found.growth_tracker,
        remedy,
    );
    if let Err(error) = scaler.validate().and_then(|()| tracked.finish()) {
        return draft.problems.push(error);
    }
    let scale =
        Scale { scale: found.scale, growth_tracker: found.growth_tracker, ..Scale::default() };
    let scale = snapshot.map_or(scale, |snapshot| counted(snapshot, scale));
    draft.plan.scale = Some(NewScale { scaler: Some(*own), scale });
}

fn counted(snapshot: &Snapshot, scale: Scale) -> Scale {
    let Snapshot { skipped, skipped_in_row, steps, .. } = *snapshot;
    Scale { skipped, skipped_in_row, steps, ..scale }
}
