//! Lists a checkpoint.

use crate::table::{bytes, table};
use std::path::Path;
use wgpu_optim::Error;
use wgpu_optim::checkpoint::{HyperparameterValue, Listing, Snapshot, Tensor};

/// A text that tells what a file holds.
pub fn list(path: &Path) -> Result<String, Error> {
    let Listing { tensors, snapshot, metadata, .. } = Listing::file(path)?;
    let total = tensors.last().map_or(0, |last| last.bytes.end);
    let mut text = format!("{}: {} arrays, {}\n", path.display(), tensors.len(), bytes(total));
    if let Some(snapshot) = &snapshot {
        text += &settings(snapshot);
    }
    for (key, value) in &metadata {
        text += &format!("{key}: {}\n", shortened(value));
    }
    Ok(text + "\n" + &arrays(&tensors))
}

/// Groups, and what happens around steps.
fn settings(snapshot: &Snapshot) -> String {
    let mut text = format!("written by wgpu-optim {}\n", snapshot.written_by);
    for (index, group) in snapshot.groups.iter().enumerate() {
        let told = group.hyperparameters.iter();
        let told: Vec<_> = told.map(|(name, told)| format!("{name} {}", value(*told))).collect();
        let (rule, params, told) = (&group.rule, group.params.len(), told.join(", "));
        text += &format!("group {index}: {rule} of {params} parameters: {told}\n");
    }
    if !snapshot.frozen.is_empty() {
        text += &format!("frozen: {}\n", snapshot.frozen.join(", "));
    }
    if let Some(scaler) = &snapshot.scaler {
        let (scale, tracker) = (scaler.scale, scaler.growth_tracker);
        text +=
            &format!("loss scale {scale}, {tracker} good steps, {} skipped\n", snapshot.skipped);
    }
    text
}

/// A hyperparameter, as people write it.
pub fn value(value: HyperparameterValue) -> String {
    match value {
        HyperparameterValue::Number(number) => format!("{number:?}"),
        HyperparameterValue::Pair([first, second]) => format!("({first:?}, {second:?})"),
        HyperparameterValue::Triple([a, b, c]) => format!("({a:?}, {b:?}, {c:?})"),
        HyperparameterValue::Flag(flag) => format!("{flag}"),
        other => format!("{other:?}"),
    }
}

fn arrays(tensors: &[Tensor]) -> String {
    let row = |tensor: &Tensor| {
        let size = bytes(tensor.bytes.end - tensor.bytes.start);
        vec![tensor.key.clone(), tensor.dtype.name().into(), format!("{:?}", tensor.shape), size]
    };
    let heading = ["array", "type", "shape", "size"].map(String::from).to_vec();
    table(&std::iter::once(heading).chain(tensors.iter().map(row)).collect::<Vec<_>>())
}

/// The start of a text that may be long.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.into();
    }
    text.chars().take(MOST).chain("…".chars()).collect()
}
