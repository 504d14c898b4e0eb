//! States in the core's format. An optimizer of the core's on the host writes and reads it, so that
//! the states of all devices and those that wait for their parameters are in one file, and what is
//! read is checked as the core checks it.

use crate::arrays::{Header, to_bytes};
use crate::config::FusedConfig;
use crate::error::Error;
use crate::state::State;
use std::collections::BTreeMap;
use std::path::Path;
use wgpu_optim::CpuOptimizer;
use wgpu_optim::checkpoint::{GroupSnapshot, HyperparameterValue, Snapshot};
use wgpu_optim::optimizer::Param;

type Named = BTreeMap<String, State>;
type Hyperparameters = BTreeMap<String, HyperparameterValue>;

/// An optimizer of the core's with these states, by name, to be saved.
pub(crate) fn with_states(
    config: &FusedConfig,
    states: &Named,
) -> Result<CpuOptimizer<f32>, Error> {
    let mut optimizer = on_host(config, states)?;
    let named = states.iter().map(|(name, state)| (name.as_str(), state));
    optimizer.load().without_params().bytes(&to_bytes(named, None))?;
    Ok(optimizer)
}

/// The bytes of a file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        Error::Optimizer(wgpu_optim::Error::File {
            file: path.display().to_string(),
            expected: "a file that can be read".into(),
            found: error.to_string(),
            remedy: "Check its path, and that you may read it".into(),
        })
    })
}

/// The settings that go with these states, as the core writes them.
pub(crate) fn settings(config: &FusedConfig, states: &Named) -> Result<String, Error> {
    let settings = on_host(config, states)?.snapshot()?;
    serde_json::to_string(&settings).map_err(|error| Error::Record(error.to_string()))
}

/// An optimizer of parameters of these names, grouped as on the devices.
fn on_host(config: &FusedConfig, states: &Named) -> Result<CpuOptimizer<f32>, Error> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (name, state) in states {
        state.check(&*config.groups[state.group].rule)?;
        let group = groups.entry((state.group, state.lr.to_bits())).or_default();
        group.push(Param::new(name.as_str(), state.shape.clone()));
    }
    let groups = groups.into_iter().map(|((group, lr), params)| {
        let rule = config.rule(group, f64::from_bits(lr));
        (rule, params)
    });
    let builder =
        groups.fold(CpuOptimizer::builder(), |builder, (rule, params)| builder.group(rule, params));
    Ok(match config.clip_grad_norm {
        Some(max_norm) => builder.clip_grad_norm(max_norm).build()?,
        None => builder.build()?,
    })
}

/// The states of a checkpoint, and the config with its hyperparameters. `group_of` tells each
/// name's group in the config.
pub(crate) fn read(
    config: &FusedConfig,
    bytes: &[u8],
    group_of: impl Fn(&str) -> usize,
) -> Result<(FusedConfig, Named), Error> {
    let header = Header::read(bytes).ok_or_else(|| refused(bytes))?;
    let (mut builder, mut own_groups) = (CpuOptimizer::<f32>::builder(), Vec::new());
    for group in &header.settings.groups {
        let mut parts = BTreeMap::<_, Vec<_>>::new();
        for name in &group.params {
            let own = group_of(name);
            let states = config.groups[own].rule.states();
            let shape = states.first().and_then(|state| header.shape(name, state.name));
            // Without states nothing has the parameter's length.
            parts.entry(own).or_default().push(Param::new(name.as_str(), shape.unwrap_or(&[0])));
        }
        for (own, params) in parts {
            builder = builder.group(config.groups[own].rule.boxed(), params);
            own_groups.push(own);
        }
    }
    if let Some(max_norm) = config.clip_grad_norm {
        builder = builder.clip_grad_norm(max_norm);
    }
    let mut optimizer = builder.build()?;
    optimizer.load().without_params().bytes(bytes)?;
    let told = optimizer.snapshot()?;
    check_supported(&told)?;
    let config = adopted(config, &optimizer, &told, &own_groups)?;
    Ok((config, states(&optimizer, &told, &own_groups)?))
}

/// What the core says of a file that has no settings of its own.
fn refused(bytes: &[u8]) -> Error {
    let empty = CpuOptimizer::<f32>::builder().build();
    match empty.and_then(|mut empty| empty.load().bytes(bytes)) {
        Err(error @ wgpu_optim::Error::File { .. }) => Error::Optimizer(error),
        _ => Error::Optimizer(wgpu_optim::Error::File {
            file: "bytes".into(),
            expected: "a checkpoint of this crate or of `wgpu_optim`".into(),
            found: "a file without its settings".into(),
            remedy: "Pass what `save_checkpoint` or the core's `save` wrote. `load_record` loads \
                     Burn's records"
                .into(),
        }),
    }
}

/// Refuses settings of the core's that decide how a run goes on and that are not to be had here.
fn check_supported(told: &Snapshot) -> Result<(), Error> {
    let unsupported = |parameter: &str, expected: &str, found: String, remedy: &str| {
        Err(Error::Parameter {
            parameter: parameter.to_owned(),
            expected: expected.to_owned(),
            found,
            remedy: remedy.to_owned(),
        })
    };
    if let Some(name) = told.frozen.first() {
        let remedy = "Thaw it before saving, and give the parameter no gradient here";
        return unsupported(name, "a parameter that is not frozen", "a frozen one".into(), remedy);
    }
    let count = told.control.micro_batches;
    if count != 1 {
        let remedy = "Save with `set_micro_batches(1)`, and divide the loss by their number";
        let expected = "gradients that are not divided";
        return unsupported("all", expected, format!("{count} micro-batches"), remedy);
    }
    Ok(())
}

/// The config with the hyperparameters that were loaded.
fn adopted(
    config: &FusedConfig,
    optimizer: &CpuOptimizer<f32>,
    told: &Snapshot,
    own_groups: &[usize],
) -> Result<FusedConfig, Error> {
    let mut config = config.clone();
    let mut firsts = BTreeMap::<usize, &GroupSnapshot>::new();
    for (index, (&own, group)) in own_groups.iter().zip(&told.groups).enumerate() {
        let first = firsts.entry(own).or_insert(group);
        if without_lr(first) != without_lr(group) {
            let name = |group: &GroupSnapshot| group.params.first().cloned().unwrap_or_default();
            return Err(Error::Parameter {
                parameter: name(group),
                expected: format!("the hyperparameters of `{}`, of the same group", name(first)),
                found: "others in what was loaded".to_owned(),
                remedy: "Make a group of each by path: `FusedConfig::with_group`".to_owned(),
            });
        }
        config.groups[own].rule = optimizer.rule(index)?.boxed();
    }
    config.clip_grad_norm = told.control.clip_grad_norm.as_ref().map(|(_, limit)| *limit);
    Ok(config)
}

/// A group's hyperparameters but the learning rate, which each step is given.
fn without_lr(group: &GroupSnapshot) -> Hyperparameters {
    let mut hyperparameters = group.hyperparameters.clone();
    hyperparameters.remove("lr");
    hyperparameters
}

/// The states that were loaded, by name.
fn states(
    optimizer: &CpuOptimizer<f32>,
    told: &Snapshot,
    own_groups: &[usize],
) -> Result<Named, Error> {
    let mut group_of = BTreeMap::new();
    for (index, group) in told.groups.iter().enumerate() {
        group_of.extend(group.params.iter().map(move |name| (name.as_str(), index)));
    }
    let mut states = Named::new();
    for param in &told.parameters {
        let name = param.name.as_str();
        let group = group_of.get(name).copied().unwrap_or(0);
        let rule = optimizer.rule(group)?;
        let array = |state: &str| -> Result<_, Error> {
            Ok((state.to_owned(), optimizer.state(name, state)?.to_vec()))
        };
        let arrays = rule
            .states()
            .iter()
            .map(|state| array(state.name))
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        // Nothing in the file bears out the shape of a parameter without states.
        let shape = if arrays.is_empty() { Vec::new() } else { param.shape.clone() };
        let state = State {
            path: name.to_owned(),
            shape,
            group: own_groups[group],
            lr: rule.lr(),
            steps: param.steps,
            scalars: param.scalars.clone(),
            arrays,
        };
        states.insert(name.to_owned(), state);
    }
    Ok(states)
}
