//! Stores a checkpoint in other formats: an optimizer on the CPU is built as the file has it, loads
//! it, and saves it.

use crate::table::bytes;
use clap::{Args, ValueEnum};
use std::error::Error;
use std::path::Path;
use wgpu_optim::checkpoint::{GroupSnapshot, HyperparameterValue, Listing, Snapshot};
use wgpu_optim::optimizer::Param;
use wgpu_optim::{
    CpuBuilder, CpuOptimizer, DynRule, Format, GradScaler, Hyperparameter, Rounding, Storage, rules,
};

/// How the new file stores what it holds.
#[derive(Debug, Args)]
pub struct Formats {
    /// Format of parameters and gradients
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    pub format: ParamFormat,
    /// Format of states, of tensors of 4096 elements or more
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    pub states: StateFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ParamFormat {
    /// 32 bits
    F32,
    /// bfloat16, with an exact f32 master in 16 bits more
    Bf16,
    /// Half precision, with an f32 master
    F16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateFormat {
    /// 32 bits
    F32,
    /// 8 bits, with a scale for each 256
    #[value(name = "8bit")]
    Block8,
}

impl Formats {
    fn storage(&self) -> Storage {
        let storage = match self.format {
            ParamFormat::F32 => Storage::f32(),
            ParamFormat::Bf16 => Storage::bf16(Rounding::Remainder),
            ParamFormat::F16 => Storage::f16(Rounding::Master),
        };
        match self.states {
            StateFormat::F32 => storage,
            StateFormat::Block8 => storage.states(Format::Block8),
        }
    }
}

/// Converts a file; a line that tells what came of it.
pub fn convert(path: &Path, output: &Path, formats: &Formats) -> Result<String, Box<dyn Error>> {
    let Listing { snapshot, tensors, .. } = Listing::file(path)?;
    let snapshot = snapshot.ok_or("only files that wgpu-optim wrote tell how they are stored")?;
    let mut optimizer = build(&snapshot, &formats.storage())?;
    let loaded = optimizer.load().convert().file(path)?;
    let has = |kind: &str| tensors.iter().any(|tensor| tensor.key.starts_with(kind));
    let mut save = optimizer.save();
    if !has("param.") {
        save = save.without_params();
    }
    if has("grad.") {
        save = save.grads();
    }
    for (key, value) in loaded.user {
        save = save.user(key, value);
    }
    let written = save.file(output)?;
    let before = std::fs::metadata(path)?.len();
    Ok(format!("{}: {} of {}", output.display(), bytes(written), bytes(before)))
}

/// An optimizer like the one that wrote a file.
fn build(snapshot: &Snapshot, storage: &Storage) -> Result<CpuOptimizer<f32>, Box<dyn Error>> {
    let mut builder: CpuBuilder<f32> = CpuOptimizer::builder().storage("*", storage.clone());
    for group in &snapshot.groups {
        let shape = |name: &String| {
            let param = snapshot.parameters.iter().find(|param| param.name == *name);
            param.map_or(Vec::new(), |param| param.shape.clone())
        };
        let params = group.params.iter().map(|name| Param::new(name, shape(name)));
        builder = builder.group(rule(group)?, params).lr_multiplier(group.lr_multiplier);
    }
    let control = &snapshot.control;
    builder = match &control.clip_grad_norm {
        Some((norm, limit)) if norm == "max" => builder.clip_grad_norm_max(*limit),
        Some((_, limit)) => builder.clip_grad_norm(*limit),
        None => builder,
    };
    if let Some(value) = control.clip_grad_value {
        builder = builder.clip_grad_value(value);
    }
    if control.skip_non_finite {
        builder = builder.skip_non_finite();
    }
    if control.zero_grad {
        builder = builder.zero_grad();
    }
    if control.statistics {
        builder = builder.statistics();
    }
    if snapshot.scaler.is_some() {
        builder = builder.grad_scaler(GradScaler::default());
    }
    Ok(builder.build()?)
}

/// The rule of a group, with the options that its hyperparameters tell.
fn rule(group: &GroupSnapshot) -> Result<Box<dyn DynRule>, Box<dyn Error>> {
    let known = rules::all().into_iter().find(|rule| rule.name() == group.rule);
    let mut rule = known.ok_or_else(|| format!("{} is a rule of your own", group.rule))?;
    for (name, own) in rule.hyperparameters() {
        match (own, group.hyperparameters.get(name)) {
            (Hyperparameter::Number(own), Some(HyperparameterValue::Number(told))) => *own = *told,
            (Hyperparameter::Flag(own), Some(HyperparameterValue::Flag(told))) => *own = *told,
            (Hyperparameter::Pair(own), Some(HyperparameterValue::Pair([first, second]))) => {
                *own = (*first, *second);
            }
            (Hyperparameter::Triple(own), Some(HyperparameterValue::Triple([a, b, c]))) => {
                *own = (*a, *b, *c);
            }
            _ => {}
        }
    }
    Ok(rule)
}
