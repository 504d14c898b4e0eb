//! What a file tells beside its arrays: a snapshot of ours, or PyTorch's groups.

use crate::checkpoint::input::Input;
use crate::checkpoint::keys;
use crate::checkpoint::snapshot::{
    GroupSnapshot, HyperparameterValue, ParameterSnapshot, ScalerSnapshot, Snapshot, VERSION,
};
use crate::error::Error;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a file tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `None` if it tells of no groups: the optimizer's own stay as they are.
    pub groups: Option<Vec<ToldGroup>>,
    /// What only files of ours have.
    pub snapshot: Option<Snapshot>,
    /// Where the snapshot has each parameter.
    parameters: BTreeMap<String, usize>,
    /// The parameters that are frozen there.
    pub frozen: BTreeSet<String>,
    pub scaler: Option<ScalerSnapshot>,
}

/// A group of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToldGroup {
    /// The rule's name, if the file tells it.
    pub rule: Option<String>,
    pub lr_multiplier: Option<f64>,
    pub values: BTreeMap<String, HyperparameterValue>,
    pub params: Vec<String>,
}

/// What PyTorch's groups say about how it computes, or keep for its schedules.
const IGNORED: [&str; 13] = [
    "foreach",
    "fused",
    "capturable",
    "differentiable",
    "initial_lr",
    "max_lr",
    "min_lr",
    "max_momentum",
    "base_momentum",
    "param_names",
    "params",
    "name",
    "swap",
];

/// Which kind of weight decay: in PyTorch's Adam it tells AdamW, which is a rule of its own here.
const DECOUPLED: &str = "decoupled_weight_decay";

impl Told {
    /// What the metadata says; names as `rename` makes them.
    pub fn read(
        metadata: &BTreeMap<String, String>,
        input: &Input<'_>,
        rename: &dyn Fn(&str) -> String,
    ) -> Result<Self, Error> {
        let mut told = match metadata.get(keys::SNAPSHOT) {
            Some(text) => Self::of_snapshot(text, input)?,
            None => Self::of_torch(metadata, input)?,
        };
        for name in told.groups.iter_mut().flatten().flat_map(|group| &mut group.params) {
            *name = rename(name);
        }
        if let Some(snapshot) = &told.snapshot {
            let names = snapshot.parameters.iter().map(|param| rename(&param.name));
            told.parameters = names.zip(0..).collect();
            told.frozen = snapshot.frozen.iter().map(|name| rename(name)).collect();
        }
        Ok(told)
    }

    fn of_snapshot(text: &str, input: &Input<'_>) -> Result<Self, Error> {
        let value: Value = json(text, keys::SNAPSHOT, input)?;
        let version = value.get("version").and_then(Value::as_u64);
        if version != Some(VERSION.into()) {
            let found = version.map_or("none".into(), |version| version.to_string());
            let expected = format!("version {VERSION} of the format");
            let remedy = "Load it with the version of this crate that wrote it, or a later one";
            return Err(Error::file(input.name(), expected, format!("version {found}"), remedy));
        }
        let snapshot: Snapshot = json(text, keys::SNAPSHOT, input)?;
        let group = |group: &GroupSnapshot| ToldGroup {
            rule: Some(group.rule.clone()),
            lr_multiplier: Some(group.lr_multiplier),
            values: group.hyperparameters.clone(),
            params: group.params.clone(),
        };
        let groups = Some(snapshot.groups.iter().map(group).collect());
        let scaler = snapshot.scaler.clone();
        Ok(Self { groups, scaler, snapshot: Some(snapshot), ..Self::default() })
    }

    fn of_torch(metadata: &BTreeMap<String, String>, input: &Input<'_>) -> Result<Self, Error> {
        let class = metadata.get(keys::OPTIMIZER).map(String::as_str);
        let groups = match metadata.get(keys::PARAM_GROUPS) {
            Some(text) => {
                let groups: Vec<serde_json::Map<String, Value>> =
                    json(text, keys::PARAM_GROUPS, input)?;
                let group = |group| {
                    torch_group(class, group)
                        .map_err(|found| input.refused("PyTorch's `param_groups`", found))
                };
                Some(groups.iter().map(group).collect::<Result<_, _>>()?)
            }
            None => None,
        };
        // That of a scaler that is switched off is empty.
        let scaler = metadata.get(keys::SCALER).filter(|text| text.trim() != "{}");
        let scaler = scaler.map(|text| json(text, keys::SCALER, input)).transpose()?;
        Ok(Self { groups, scaler, ..Self::default() })
    }

    /// How the file's optimizer stored a parameter, by the name that it has here.
    pub fn parameter(&self, name: &str) -> Option<&ParameterSnapshot> {
        self.snapshot.as_ref()?.parameters.get(*self.parameters.get(name)?)
    }

    /// Whether the file is none of ours: it has what PyTorch keeps, and no more.
    pub fn is_foreign(&self) -> bool {
        self.snapshot.is_none()
    }
}

/// A group of PyTorch's; what is wrong with it otherwise.
fn torch_group(
    class: Option<&str>,
    group: &serde_json::Map<String, Value>,
) -> Result<ToldGroup, String> {
    let is_decoupled = group.get(DECOUPLED).and_then(Value::as_bool).unwrap_or(false);
    let rule = class.map(|class| match (class, is_decoupled) {
        ("Adam", true) => "adamw".into(),
        _ => class.to_lowercase(),
    });
    let is_adam = matches!(rule.as_deref(), Some("adam" | "adamw"));
    let told = group.iter().filter(|(name, value)| {
        !(IGNORED.contains(&name.as_str()) || value.is_null() || (is_adam && *name == DECOUPLED))
    });
    let value = |(name, value): (&String, &Value)| {
        let known = serde_json::from_value(value.clone()).ok();
        known.map(|known| (name.clone(), known)).ok_or_else(|| format!("`{name}` = {value}"))
    };
    let params = match group.get("params") {
        Some(Value::Array(params)) => params.iter().map(name_of).collect(),
        _ => return Err("a group without `params`".into()),
    };
    Ok(ToldGroup {
        rule,
        lr_multiplier: None,
        values: told.map(value).collect::<Result<_, _>>()?,
        params,
    })
}

/// A parameter's path; or its number, where nobody knows its name.
fn name_of(param: &Value) -> String {
    param.as_str().map_or_else(|| param.to_string(), Into::into)
}

/// An entry of the metadata.
fn json<T: DeserializeOwned>(text: &str, entry: &str, input: &Input<'_>) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        // Where the text is of one line, the column counts its bytes.
        let end = error.column().min(text.len());
        let near = String::from_utf8_lossy(&text.as_bytes()[end.saturating_sub(40)..end]);
        input
            .refused(format!("JSON in the metadata's `{entry}`"), format!("{error}, after …{near}"))
    })
}
