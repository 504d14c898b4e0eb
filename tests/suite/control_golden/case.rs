//! What PyTorch did: the cases' settings, their steps, and what is recorded of them.

use crate::golden::{facts_of, numbers, rule};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use wgpu_optim::schedule::{CosineAnnealing, Schedule};
use wgpu_optim::{DynRule, GradScaler};

/// What all cases start from.
pub struct Inputs {
    pub params: BTreeMap<String, Vec<f32>>,
    /// Rows of each parameter's gradient.
    pub grads: BTreeMap<String, Vec<Vec<f32>>>,
    /// The elements that cases record, of each parameter in the order of their record.
    pub kept: Vec<(String, Vec<usize>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control")
}

impl Inputs {
    pub fn load() -> Self {
        let bytes = std::fs::read(folder().join("inputs.safetensors")).expect("readable");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let names = &header.metadata().as_ref().expect("metadata")["names"];
        let names: Vec<String> = serde_json::from_str(names).expect("JSON");
        let param = |name: &String| numbers::<f32>(&file, &format!("param.{name}"));
        let rows = |name: &String| {
            let flat: Vec<f32> = numbers(&file, &format!("grad.{name}"));
            flat.chunks(param(name).len()).map(<[f32]>::to_vec).collect()
        };
        let kept = |name: &String| {
            let kept: Vec<i64> = numbers(&file, &format!("kept.{name}"));
            kept.into_iter().map(|index| index as usize).collect()
        };
        Self {
            params: names.iter().map(|name| (name.clone(), param(name))).collect(),
            grads: names.iter().map(|name| (name.clone(), rows(name))).collect(),
            kept: names.iter().map(|name| (name.clone(), kept(name))).collect(),
        }
    }
}

/// A JSON object. Reading a member marks it; what stays unread was not understood.
struct Members<'a> {
    all: &'a Map<String, Value>,
    read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Members<'a> {
    fn of(value: &'a Value) -> Self {
        Self { all: value.as_object().expect("an object"), read: RefCell::default() }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.all.get_key_value(name)?;
        self.read.borrow_mut().insert(name);
        Some(value).filter(|value| !value.is_null())
    }

    fn list(&self, name: &str) -> &'a [Value] {
        self.get(name).map_or(&[], |value| value.as_array().expect("a list"))
    }

    fn text(&self, name: &str) -> &'a str {
        self.get(name).and_then(Value::as_str).expect("a text")
    }

    fn number(&self, name: &str) -> f64 {
        self.get(name).and_then(Value::as_f64).expect("a number")
    }

    fn all_read(&self) {
        for name in self.all.keys() {
            assert!(self.read.borrow().contains(name.as_str()), "not understood: {name}");
        }
    }
}

/// A group as PyTorch had it.
pub struct Group {
    pub rule: Box<dyn DynRule>,
    pub lr: f64,
    pub params: Vec<String>,
}

/// A step: what happens in it, and what PyTorch made of it.
pub struct Step {
    /// The rows of gradients, one a micro-batch.
    pub rows: Vec<usize>,
    /// Micro-batch, parameter, element, value.
    pub non_finite: Vec<(usize, String, usize, f32)>,
    pub frozen: Vec<String>,
    pub add: Option<Group>,
    pub max_norm: Option<f64>,
    pub lrs: Vec<f64>,
    pub skipped: bool,
    pub scaled: Option<Scaled>,
    /// Steps that each parameter has behind it.
    pub taken: BTreeMap<String, u64>,
}

/// What a step made of the loss scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaled {
    pub scale: f32,
    pub next_scale: f32,
    pub growth_tracker: u32,
}

/// Clipping by a norm.
#[derive(Clone, Copy)]
pub enum Clip {
    L2(f64),
    Max(f64),
}

/// A library's run.
pub struct Case {
    pub name: String,
    pub groups: Vec<Group>,
    pub clip_norm: Option<Clip>,
    pub clip_value: Option<f64>,
    pub scaler: Option<GradScaler>,
    pub micro_batches: u32,
    pub row_factor: f32,
    /// `T_max` and `eta_min`.
    pub cosine: Option<(u64, f64)>,
    pub steps: Vec<Step>,
    /// What is recorded after each step, by its name, and the library's own error in f32.
    pub records: BTreeMap<String, (Vec<Vec<f64>>, f64)>,
}

fn strings(values: &[Value]) -> Vec<String> {
    values.iter().map(|value| value.as_str().expect("a text").into()).collect()
}

fn group(value: &Value, rule_name: &str, case: &str) -> Group {
    let members = Members::of(value);
    let hyper = members.get("hyper").and_then(Value::as_object).expect("hyperparameters");
    let group = Group {
        rule: rule(facts_of(rule_name), hyper, case),
        lr: hyper["lr"].as_f64().expect("a rate"),
        params: strings(members.list("params")),
    };
    members.all_read();
    group
}

fn step(value: &Value, rule_name: &str, case: &str) -> Step {
    let members = Members::of(value);
    let index = |value: &Value| value.as_u64().expect("an index") as usize;
    let non_finite = |place: &Value| {
        let text = |at: usize| place[at].as_str().expect("a text");
        (index(&place[0]), text(1).into(), index(&place[2]), text(3).parse().expect("a number"))
    };
    let taken = members.get("taken").and_then(Value::as_object).expect("steps");
    let step = Step {
        rows: members.list("rows").iter().map(index).collect(),
        non_finite: members.list("non_finite").iter().map(non_finite).collect(),
        frozen: strings(members.list("frozen")),
        add: members.get("add").map(|value| group(value, rule_name, case)),
        max_norm: members.get("max_norm").and_then(Value::as_f64),
        lrs: members.list("lrs").iter().map(|lr| lr.as_f64().expect("a rate")).collect(),
        skipped: members.get("skipped").and_then(Value::as_bool).expect("a flag"),
        scaled: members.get("scale").map(|scale| Scaled {
            scale: scale.as_f64().expect("a scale") as f32,
            next_scale: members.number("next_scale") as f32,
            growth_tracker: members.number("growth_tracker") as u32,
        }),
        taken: taken.iter().map(|(name, steps)| (name.clone(), index(steps) as u64)).collect(),
    };
    members.all_read();
    step
}

fn scaler(value: &Value) -> GradScaler {
    let members = Members::of(value);
    let scaler = GradScaler {
        init_scale: members.number("init_scale") as f32,
        growth_factor: members.number("growth_factor"),
        backoff_factor: members.number("backoff_factor"),
        growth_interval: members.number("growth_interval") as u32,
        ..Default::default()
    };
    members.all_read();
    scaler
}

impl Case {
    pub fn load(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("readable");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let case = &header.metadata().as_ref().expect("metadata")["case"];
        let case: Value = serde_json::from_str(case).expect("JSON");
        let members = Members::of(&case);
        let name: String = path.file_stem().expect("a name").to_string_lossy().into();
        let rule_name = members.text("rule");
        let steps = members.list("steps");
        let errors = Members::of(members.get("f32_error").expect("errors"));
        let record = |key: &str| {
            let flat: Vec<f64> = numbers(&file, key);
            let rows = flat.chunks(flat.len() / steps.len()).map(<[f64]>::to_vec).collect();
            (key.to_owned(), (rows, errors.number(key)))
        };
        let clip_norm = match members.list("clip_norm") {
            [norm_type, max_norm] => {
                let max_norm = max_norm.as_f64().expect("a norm");
                Some(if norm_type == "inf" { Clip::Max(max_norm) } else { Clip::L2(max_norm) })
            }
            _ => None,
        };
        let cosine = members.get("cosine").map(Members::of);
        let case = Self {
            groups: members.list("groups").iter().map(|g| group(g, rule_name, &name)).collect(),
            clip_norm,
            clip_value: members.get("clip_value").and_then(Value::as_f64),
            scaler: members.get("scaler").map(scaler),
            micro_batches: members
                .get("micro_batches")
                .map_or(1, |_| members.number("micro_batches") as u32),
            row_factor: members.get("row_factor").map_or(1.0, |_| members.number("row_factor"))
                as f32,
            cosine: cosine.map(|cosine| (cosine.number("T_max") as u64, cosine.number("eta_min"))),
            steps: steps.iter().map(|s| step(s, rule_name, &name)).collect(),
            records: file.names().into_iter().map(record).collect(),
            name,
        };
        assert!(members.text("library").starts_with("torch "), "{}", case.name);
        members.all_read();
        errors.all_read();
        case
    }

    /// Whether a norm of all gradients is known.
    pub fn decides(&self) -> bool {
        self.clip_norm.is_some() || self.scaler.is_some()
    }

    /// A group's rate at a step, by this crate's schedule.
    pub fn lr(&self, lr: f64, step: usize) -> f64 {
        let cosine = |(t_max, eta_min)| {
            Schedule::from(CosineAnnealing { lr, t_max, eta_min }).lr(step as u64)
        };
        self.cosine.map_or(lr, cosine)
    }

    /// A parameter's gradients in a step, one a micro-batch, as an engine would compute them.
    pub fn gradients(&self, inputs: &Inputs, step: &Step, name: &str) -> Vec<Vec<f32>> {
        let factor = self.row_factor * step.scaled.map_or(1.0, |scaled| scaled.scale);
        let gradient = |(micro, &row): (usize, &usize)| {
            let mut gradient: Vec<_> = inputs.grads[name][row].iter().map(|g| g * factor).collect();
            for (at, param, element, value) in &step.non_finite {
                if (*at, param.as_str()) == (micro, name) {
                    gradient[*element] = *value;
                }
            }
            gradient
        };
        step.rows.iter().enumerate().map(gradient).collect()
    }
}

pub fn cases() -> Vec<Case> {
    let mut paths: Vec<_> = std::fs::read_dir(folder())
        .expect("the cases")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .filter(|path| path.file_stem().is_some_and(|name| name != "inputs"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "cases are missing");
    paths.iter().map(|path| Case::load(path)).collect()
}

impl Inputs {
    pub fn lens(&self, names: &[String]) -> Vec<(String, usize)> {
        names.iter().map(|name| (name.clone(), self.params[name].len())).collect()
    }
}
