//! Compares two checkpoints.

use crate::list::value;
use crate::table::table;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use wgpu_optim::checkpoint::{Listing, Snapshot};

/// A text that tells what differs, and whether nothing does.
pub fn compare(first: &Path, second: &Path) -> Result<(String, bool), Box<dyn Error>> {
    let listings = [Listing::file(first)?, Listing::file(second)?];
    let read = [std::fs::read(first)?, std::fs::read(second)?];
    let files = [SafeTensors::deserialize(&read[0])?, SafeTensors::deserialize(&read[1])?];
    let settings = match [&listings[0].snapshot, &listings[1].snapshot] {
        [Some(first), Some(second)] => settings(first, second),
        _ => Vec::new(),
    };
    let keys: BTreeSet<_> = files.iter().flat_map(SafeTensors::names).collect();
    let rows = keys.into_iter().filter(|key| *key != "checksum").filter_map(|key| {
        let difference = difference(files.each_ref().map(|file| file.tensor(key)))?;
        Some(vec![key.to_owned(), difference])
    });
    let rows: Vec<_> = rows.collect();
    if settings.is_empty() && rows.is_empty() {
        return Ok(("The same.".into(), true));
    }
    let heading = vec!["array".to_owned(), "difference".to_owned()];
    let arrays = match rows.is_empty() {
        true => "All arrays are the same.".into(),
        false => table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()),
    };
    Ok((settings.concat() + &arrays, false))
}

/// Lines about hyperparameters that differ, by parameter.
fn settings(first: &Snapshot, second: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &first.groups {
        for param in &group.params {
            let other = second.groups.iter().find(|other| other.params.contains(param));
            let Some(other) = other else { continue };
            if group.rule != other.rule {
                lines.push(format!("{param}: {} or {}\n", group.rule, other.rule));
            }
            for (name, own) in &group.hyperparameters {
                if let Some(theirs) = other.hyperparameters.get(name).filter(|found| *found != own)
                {
                    let (own, theirs) = (value(*own), value(*theirs));
                    lines.push(format!("{param}: {name} {own} or {theirs}\n"));
                }
            }
        }
    }
    if first.scaler != second.scaler {
        lines.push(format!("loss scale: {:?} or {:?}\n", first.scaler, second.scaler));
    }
    lines
}

/// What differs between two arrays of a key; `None` if nothing does.
fn difference(arrays: [Result<TensorView<'_>, SafeTensorError>; 2]) -> Option<String> {
    let [Ok(first), Ok(second)] = arrays else {
        let which = if arrays[0].is_ok() { "first" } else { "second" };
        return Some(format!("only in the {which}"));
    };
    if (first.dtype(), first.shape()) != (second.dtype(), second.shape()) {
        let of = |array: &TensorView<'_>| format!("{:?} {:?}", array.dtype(), array.shape());
        return Some(format!("{} or {}", of(&first), of(&second)));
    }
    if first.data() == second.data() {
        return None;
    }
    let [own, theirs] = [&first, &second].map(numbers);
    let off = own.iter().zip(&theirs).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
    // The total order sorts NaN above all numbers.
    let larger = |a, b| std::cmp::max_by(a, b, f64::total_cmp);
    let (most, sum) = (off.clone().fold(0.0, larger), off.sum::<f64>());
    let largest = own.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    Some(format!("at most {most:.3e}, {:.3e} on average, of {largest:.3e}", sum / own.len() as f64))
}

fn numbers(array: &TensorView<'_>) -> Vec<f64> {
    let data = array.data();
    let pairs = |of: fn(u16) -> f32| {
        data.chunks_exact(2).map(|b| of(u16::from_le_bytes([b[0], b[1]])).into()).collect()
    };
    match array.dtype() {
        Dtype::F64 => bytemuck::pod_collect_to_vec::<u8, f64>(data),
        Dtype::F32 => {
            bytemuck::pod_collect_to_vec::<u8, f32>(data).into_iter().map(Into::into).collect()
        }
        Dtype::I64 => {
            bytemuck::pod_collect_to_vec::<u8, i64>(data).into_iter().map(|x| x as f64).collect()
        }
        Dtype::BF16 => pairs(|bits| f32::from_bits(u32::from(bits) << 16)),
        Dtype::F16 => pairs(wgpu_optim::internals::formats::half::from_f16),
        _ => data.iter().map(|&byte| byte.into()).collect(),
    }
}
