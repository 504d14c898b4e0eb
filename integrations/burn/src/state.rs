//! A parameter's states and step count, on the host and in Burn's records.
//!
//! A record is Burn's own `OptimizerRecord`, which can be made only from bytes in its file format,
//! and read only as such bytes.

use crate::error::Error;
use burn::module::ParamId;
use burn::optim::OptimizerRecord;
use burn::tensor::{DType, Shape, TensorData};
use burn_pack::{Reader, Scalar, Tensor, Writer};
use std::collections::BTreeMap;
use std::fmt::Display;

/// A parameter's states and the number of its steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Its path in the module.
    pub path: String,
    pub shape: Vec<usize>,
    pub steps: u64,
    /// By the core's name for each.
    pub arrays: Vec<(String, Vec<f32>)>,
}

/// Names of a record's numbers, after a parameter's id: how many steps it has taken, and its rank,
/// which Burn asks for.
const STEPS: &str = "steps";
const RANK: &str = "__rank";

/// The record of these states.
pub(crate) fn to_record(states: Vec<(ParamId, State)>) -> Result<OptimizerRecord, Error> {
    let mut tensors = Vec::new();
    let mut numbers = Vec::new();
    let mut paths = Vec::new();
    for (id, state) in states {
        let id = id.val();
        for (name, values) in state.arrays {
            let data = TensorData::new(values, Shape::from(state.shape.clone()));
            let (bytes, shape, dtype) = data.into_parts();
            tensors.push(Tensor::new(format!("{id}.{name}"), dtype, shape, Some(id), bytes));
        }
        numbers.push((format!("{id}.{STEPS}"), state.steps));
        numbers.push((format!("{id}.{RANK}"), state.shape.len() as u64));
        paths.push((id.to_string(), state.path));
    }
    let mut writer = Writer::new(tensors);
    for (name, number) in numbers {
        writer = writer.with_scalar(&name, Scalar::UInt(number));
    }
    for (id, path) in paths {
        writer = writer.with_metadata(&id, &path);
    }
    OptimizerRecord::from_bytes(writer.into_bytes().map_err(refused)?).map_err(refused)
}

/// The states of a record that this crate made.
pub(crate) fn from_record(record: OptimizerRecord) -> Result<BTreeMap<ParamId, State>, Error> {
    let reader = Reader::from_bytes(record.into_bytes().map_err(refused)?).map_err(refused)?;
    let (numbers, paths) = (reader.scalars().clone(), reader.metadata().clone());
    let mut states = BTreeMap::new();
    for (name, number) in &numbers {
        if let Some(id) = name.strip_suffix(STEPS).and_then(|name| name.strip_suffix('.')) {
            let path = paths.get(id).cloned().unwrap_or_default();
            let steps =
                u64::try_from(*number).map_err(|_| refused(format!("`{name}` is no count")))?;
            let state = State { path, shape: Vec::new(), steps, arrays: Vec::new() };
            states.insert(parse(id)?, state);
        }
    }
    for tensor in reader.into_tensors().map_err(refused)? {
        let (name, dtype, shape, _, bytes) = tensor.into_parts().map_err(refused)?;
        let (id, array) =
            name.split_once('.').ok_or_else(|| refused(format!("`{name}` names no parameter")))?;
        let state = states.get_mut(&parse(id)?).ok_or_else(|| {
            refused(format!("`{name}` has no `{id}.{STEPS}`: an optimizer of Burn's own wrote it"))
        })?;
        if dtype != DType::F32 {
            return Err(refused(format!("`{name}` is {dtype:?}, but states are f32")));
        }
        state.shape = shape.to_vec();
        let values = TensorData::from_bytes(bytes, shape, dtype);
        state.arrays.push((
            array.to_owned(),
            values.try_to_vec().map_err(|error| refused(format!("{error:?}")))?,
        ));
    }
    Ok(states)
}

fn parse(id: &str) -> Result<ParamId, Error> {
    id.parse::<u64>()
        .map(ParamId::from)
        .map_err(|_| refused(format!("`{id}` is no parameter's id")))
}

fn refused(problem: impl Display) -> Error {
    Error::Record(problem.to_string())
}
