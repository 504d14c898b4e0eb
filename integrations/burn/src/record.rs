//! States in Burn's records.
//!
//! A record is Burn's own `OptimizerRecord`, which can be made only from bytes in its file format,
//! and read only as such bytes. Beside the arrays, counts and paths by id it holds the core's
//! settings (rules, options, hyperparameters), which records of earlier versions lack.

use crate::arrays::{self, SETTINGS};
use crate::burn_names;
use crate::checkpoint;
use crate::config::FusedConfig;
use crate::error::Error;
use crate::state::State;
use burn::module::ParamId;
use burn::optim::OptimizerRecord;
use burn::tensor::{DType, Shape, TensorData};
use burn_pack::{Reader, Scalar, Tensor, Writer};
use std::collections::BTreeMap;
use std::fmt::Display;

pub(crate) type States = BTreeMap<ParamId, State>;

/// Names of a record's numbers, after a parameter's id: how many steps it has taken, and its rank,
/// which Burn asks for.
const STEPS: &str = "steps";
const RANK: &str = "__rank";

/// The record of these states.
pub(crate) fn write(config: &FusedConfig, states: States) -> Result<OptimizerRecord, Error> {
    let named = states.iter().map(|(id, state)| (key(*id), state.clone())).collect();
    let settings = checkpoint::settings(config, &named)?;
    let (mut tensors, mut numbers) = (Vec::new(), Vec::new());
    let mut metadata = vec![(SETTINGS.to_owned(), settings)];
    for (id, state) in states {
        let (id, key) = (id.val(), key(id));
        for (name, values) in state.arrays {
            let data = TensorData::new(values, Shape::from(state.shape.clone()));
            let (bytes, shape, dtype) = data.into_parts();
            tensors.push(Tensor::new(format!("{key}.{name}"), dtype, shape, Some(id), bytes));
        }
        numbers.push((format!("{key}.{STEPS}"), Scalar::UInt(state.steps)));
        numbers.push((format!("{key}.{RANK}"), Scalar::UInt(state.shape.len() as u64)));
        let scalars = state.scalars.into_iter();
        numbers.extend(scalars.map(|(name, x)| (format!("{key}.{name}"), Scalar::Float(x))));
        metadata.push((key, state.path));
    }
    let mut writer = Writer::new(tensors);
    for (name, number) in numbers {
        writer = writer.with_scalar(&name, number);
    }
    for (name, text) in metadata {
        writer = writer.with_metadata(&name, &text);
    }
    OptimizerRecord::from_bytes(writer.into_bytes().map_err(refused)?).map_err(refused)
}

/// The states of a record, this crate's or of Burn's own optimizers, and the config with the
/// record's hyperparameters if it has any.
pub(crate) fn read(
    config: &FusedConfig,
    record: OptimizerRecord,
) -> Result<(FusedConfig, States), Error> {
    let (entries, settings) = entries(record)?;
    let mut states = States::new();
    for (id, entry) in entries {
        states.insert(id, entry.into_state(config, id)?);
    }
    let Some(settings) = settings else {
        for state in states.values() {
            state.check(&*config.groups[state.group].rule)?;
        }
        return Ok((config.clone(), states));
    };
    let names: BTreeMap<_, _> = states.iter().map(|(id, state)| (key(*id), state)).collect();
    let named = names.iter().map(|(name, state)| (name.as_str(), *state));
    let bytes = arrays::to_bytes(named, Some(&settings));
    let group_of = |name: &str| names.get(name).map_or(0, |state| state.group);
    let (config, read) = checkpoint::read(config, &bytes, group_of)?;
    let with_path = |(id, state): (&ParamId, &State)| {
        let path = state.path.clone();
        read.get(&key(*id)).map(|state| (*id, State { path, ..state.clone() }))
    };
    let states = states.iter().filter_map(with_path).collect();
    Ok((config, states))
}

/// A parameter's name in a record.
fn key(id: ParamId) -> String {
    id.val().to_string()
}

/// What a record has of a parameter.
#[derive(Default)]
struct Entry {
    path: String,
    /// Its numbers and arrays, by what follows the id.
    numbers: BTreeMap<String, Scalar>,
    arrays: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Entry {
    fn into_state(mut self, config: &FusedConfig, id: ParamId) -> Result<State, Error> {
        let group = config.group_of(id, &self.path);
        let rule = &config.groups[group].rule;
        self.numbers.remove(RANK);
        let steps = match self.numbers.remove(STEPS) {
            Some(steps) => u64::try_from(steps)
                .map_err(|_| refused(format!("`{STEPS}` of `{}` is no count", self.path)))?,
            None => burn_names::translate(&mut self.arrays, &mut self.numbers, rule.name())
                .map_err(|problem| refused(format!("`{}`: {problem}", self.path)))?,
        };
        let number = |(name, number): (String, Scalar)| match number {
            Scalar::Float(number) => Ok((name, number)),
            _ => Err(refused(format!("`{name}` of `{id}` is no floating-point number"))),
        };
        let shape = self.arrays.values().next().map_or_else(Vec::new, |(shape, _)| shape.clone());
        if let Some((name, _)) = self.arrays.iter().find(|(_, (other, _))| *other != shape) {
            return Err(refused(format!("`{name}` of `{id}` is not of shape {shape:?} as others")));
        }
        let path = if self.path.is_empty() { key(id) } else { self.path };
        Ok(State {
            path,
            shape,
            group,
            lr: rule.lr(),
            steps,
            scalars: self.numbers.into_iter().map(number).collect::<Result<_, _>>()?,
            arrays: self.arrays.into_iter().map(|(name, (_, values))| (name, values)).collect(),
        })
    }
}

/// A record's contents by id, and the core's settings.
fn entries(record: OptimizerRecord) -> Result<(BTreeMap<ParamId, Entry>, Option<String>), Error> {
    let reader = Reader::from_bytes(record.into_bytes().map_err(refused)?).map_err(refused)?;
    let (numbers, mut metadata) = (reader.scalars().clone(), reader.metadata().clone());
    let settings = metadata.remove(SETTINGS);
    let mut entries = BTreeMap::<_, Entry>::new();
    for (key, number) in numbers {
        let (id, name) = split(&key)?;
        entries.entry(id).or_default().numbers.insert(name.to_owned(), number);
    }
    for tensor in reader.into_tensors().map_err(refused)? {
        let (key, dtype, shape, _, bytes) = tensor.into_parts().map_err(refused)?;
        let (id, name) = split(&key)?;
        if dtype != DType::F32 {
            return Err(refused(format!("`{key}` is {dtype:?}, but states are f32")));
        }
        let sizes = shape.to_vec();
        let values = TensorData::from_bytes(bytes, shape, dtype).try_to_vec();
        let values = values.map_err(|error| refused(format!("{error:?}")))?;
        entries.entry(id).or_default().arrays.insert(name.to_owned(), (sizes, values));
    }
    for (id, path) in metadata {
        if let Some(entry) = id.parse().ok().and_then(|id: u64| entries.get_mut(&id.into())) {
            entry.path = path;
        }
    }
    Ok((entries, settings))
}

/// A parameter's id, and the name of something of it.
fn split(key: &str) -> Result<(ParamId, &str), Error> {
    let parts = key.split_once('.');
    let parts = parts.and_then(|(id, name)| Some((ParamId::from(id.parse::<u64>().ok()?), name)));
    parts.ok_or_else(|| refused(format!("`{key}` names no parameter by its id")))
}

fn refused(problem: impl Display) -> Error {
    Error::Record(problem.to_string())
}
