//! The golden cases of the tests: other libraries' hyperparameters, parameters and gradients. What
//! those libraries computed is not looked at here.

use crate::cases::{Case, Line, Way, look};
use crate::rules::Rule;
use crate::subject::{Control, Group, Subject};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wgpu_optim::{
    AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, GradScaler, LAMB, LARS, Lion, NAdam, RAdam,
    RMSprop, Rprop, SGD,
};

/// Hyperparameters, by PyTorch's names or optax's.
type Hyper = Map<String, Value>;

/// Sets a field to a hyperparameter, if it is among them.
trait Field {
    fn set(&mut self, value: Option<&Value>);
}

impl Field for f64 {
    fn set(&mut self, value: Option<&Value>) {
        *self = value.map_or(*self, |value| value.as_f64().expect("a number"));
    }
}

impl Field for bool {
    fn set(&mut self, value: Option<&Value>) {
        *self = value.map_or(*self, |value| value.as_bool().expect("a flag"));
    }
}

impl Field for (f64, f64) {
    fn set(&mut self, value: Option<&Value>) {
        if let Some(value) = value {
            self.0.set(Some(&value[0]));
            self.1.set(Some(&value[1]));
        }
    }
}

/// A rule of a type, with these of its fields set.
macro_rules! rule {
    ($hyper:expr, $rule:ident, $($field:ident),*) => {{
        let mut rule = $rule::default();
        $(rule.$field.set($hyper.get(stringify!($field)));)*
        rule.into()
    }};
}

fn rule(name: &str, hyper: &Hyper) -> Rule {
    let mut h = hyper.clone();
    if let (Some(first), Some(second)) = (h.remove("b1"), h.remove("b2")) {
        h.insert("betas".into(), Value::Array(vec![first, second]));
    }
    if let Some(decay) = h.remove("decay") {
        h.insert("alpha".into(), decay);
    }
    match name {
        "SGD" => rule!(h, SGD, lr, momentum, dampening, weight_decay, nesterov, maximize),
        "Adagrad" => {
            rule!(
                h,
                Adagrad,
                lr,
                lr_decay,
                weight_decay,
                initial_accumulator_value,
                eps,
                eps_in_sqrt
            )
        }
        "RMSprop" => {
            rule!(h, RMSprop, lr, alpha, eps, weight_decay, momentum, centered, eps_in_sqrt)
        }
        "Adam" => rule!(h, Adam, lr, betas, eps, weight_decay, amsgrad, maximize),
        "AdamW" => rule!(h, AdamW, lr, betas, eps, weight_decay, amsgrad, maximize),
        "Adadelta" => rule!(h, Adadelta, lr, rho, eps, weight_decay),
        "Adamax" => rule!(h, Adamax, lr, betas, eps, weight_decay),
        "NAdam" => rule!(h, NAdam, lr, betas, eps, weight_decay, decoupled_weight_decay),
        "RAdam" => rule!(h, RAdam, lr, betas, eps, weight_decay, decoupled_weight_decay),
        "Rprop" => rule!(h, Rprop, lr),
        "Lion" => rule!(h, Lion, lr, betas, weight_decay),
        "AdaBelief" => rule!(h, AdaBelief, lr, betas, eps, eps_root),
        "LAMB" => rule!(h, LAMB, lr, betas, eps, weight_decay),
        "LARS" => rule!(h, LARS, lr, momentum, weight_decay, trust_coefficient),
        other => panic!("no rule for {other}"),
    }
}

/// Whether a rule shrinks parameters apart from the gradient.
fn is_decoupled(name: &str, hyper: &Hyper) -> bool {
    let number = |name: &str| hyper.get(name).and_then(Value::as_f64);
    let flag = hyper.get("decoupled_weight_decay").is_some_and(|flag| *flag == true);
    match name {
        "AdamW" => number("weight_decay") != Some(0.0),
        "Lion" | "AdaBelief" => number("weight_decay").is_some_and(|decay| decay > 0.0),
        _ => flag,
    }
}

/// What a case's name ends with if it has a decoupled rule.
fn mark(is_decoupled: bool) -> &'static str {
    if is_decoupled { "_decoupled" } else { "" }
}

/// Files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the golden cases");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into()
}

/// A file's tensors and metadata.
struct File {
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Self {
        Self { bytes: std::fs::read(path).expect("readable") }
    }

    fn text(&self, name: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).expect("a header");
        header.metadata().as_ref().expect("metadata")[name].clone()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).expect("JSON")
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).expect("safetensors");
        let tensor = file.tensor(name).expect("a tensor of the file");
        let floats: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
        floats.into_iter().map(f64::from).collect()
    }
}

/// Cases of one rule, of `tests/golden`, in each of these ways.
pub fn rule_cases(tests: &Path, ways: &[Way]) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in files(&tests.join("golden")) {
        let file = Arc::new(File::read(&path));
        let (rule_name, hyper) = (file.text("rule"), file.json("hyper"));
        let hyper = Arc::new(hyper.as_object().expect("an object").clone());
        let end = mark(is_decoupled(&rule_name, &hyper));
        for way in ways {
            let name = format!("{}/golden/{}{end}", way.name, stem(&path));
            let (way, file) = (way.clone(), file.clone());
            let (rule_name, hyper) = (rule_name.clone(), hyper.clone());
            let run = move || follow_rule(&way, rule(&rule_name, &hyper), &file);
            cases.push(Case { name, run: Box::new(run) });
        }
    }
    cases
}

fn follow_rule(way: &Way, rule: Rule, file: &File) -> Vec<Line> {
    let start = file.numbers("param0");
    let group = Group { rule, params: vec![("p".into(), start.len())] };
    let mut subject = (way.make)(&[group], &Control::default());
    subject.set_param("p", &start);
    let grads = file.numbers("grads");
    let step = |(step, grad): (usize, &[f64])| {
        subject.set_grad("p", grad);
        subject.step();
        look(subject.as_mut(), step, false)
    };
    (1..).zip(grads.chunks(start.len())).flat_map(step).collect()
}

/// What all cases of `tests/control` start from: names, parameters, and rows of gradients.
struct Inputs(Vec<(String, Vec<f64>, Vec<f64>)>);

impl Inputs {
    fn read(path: &Path) -> Self {
        let file = File::read(path);
        let input = |name: &Value| {
            let name = name.as_str().expect("a name");
            let numbers = |kind: &str| file.numbers(&format!("{kind}.{name}"));
            (name.to_owned(), numbers("param"), numbers("grad"))
        };
        Self(list(&file.json("names")).iter().map(input).collect())
    }

    /// A group of a case.
    fn group(&self, rule_name: &str, group: &Value) -> Group {
        let hyper = group["hyper"].as_object().expect("hyperparameters");
        let param = |name: &Value| {
            let name = name.as_str().expect("a name");
            let (_, start, _) = self.0.iter().find(|input| input.0 == name).expect("an input");
            (name.to_owned(), start.len())
        };
        let params = list(&group["params"]).iter().map(param).collect();
        Group { rule: rule(rule_name, hyper), params }
    }
}

/// The members of a list, none if there is no list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn index(value: &Value) -> usize {
    value.as_u64().expect("an index") as usize
}

/// Cases of what surrounds steps, of `tests/control`, in each of these ways.
pub fn control_cases(tests: &Path, ways: &[Way]) -> Vec<Case> {
    let inputs = Arc::new(Inputs::read(&tests.join("control/inputs.safetensors")));
    let mut cases = Vec::new();
    for path in files(&tests.join("control")).iter().filter(|path| stem(path) != "inputs") {
        let case = Arc::new(File::read(path).json("case"));
        let rule_name = case["rule"].as_str().expect("a name");
        let added = list(&case["steps"]).iter().filter_map(|step| step.get("add"));
        let mut groups = list(&case["groups"]).iter().chain(added);
        let decoupled = groups.any(|group| {
            group["hyper"].as_object().is_some_and(|hyper| is_decoupled(rule_name, hyper))
        });
        for way in ways {
            let name = format!("{}/control/{}{}", way.name, stem(path), mark(decoupled));
            let (way, case, inputs) = (way.clone(), case.clone(), inputs.clone());
            let run = move || follow_control(&way, &case, &inputs);
            cases.push(Case { name, run: Box::new(run) });
        }
    }
    cases
}

/// What a case asks for around its steps.
fn control(case: &Value) -> Control {
    let clip = |norm_type: &str| {
        let [found, max_norm] = list(&case["clip_norm"]) else { return None };
        let found = if found == "inf" { "max" } else { "l2" };
        (found == norm_type).then(|| max_norm.as_f64().expect("a norm"))
    };
    let scaler = |scaler: &Value| {
        let number = |name: &str| scaler[name].as_f64().expect("a number");
        GradScaler {
            init_scale: number("init_scale") as f32,
            growth_factor: number("growth_factor"),
            backoff_factor: number("backoff_factor"),
            growth_interval: number("growth_interval") as u32,
            ..Default::default()
        }
    };
    Control {
        clip_norm: clip("l2"),
        clip_norm_max: clip("max"),
        clip_value: case["clip_value"].as_f64(),
        scaler: case.get("scaler").filter(|value| !value.is_null()).map(scaler),
        ..Default::default()
    }
}

fn follow_control(way: &Way, case: &Value, inputs: &Inputs) -> Vec<Line> {
    let rule_name = case["rule"].as_str().expect("a name");
    let group = |value: &Value| inputs.group(rule_name, value);
    let groups: Vec<_> = list(&case["groups"]).iter().map(group).collect();
    let mut subject = (way.make)(&groups, &control(case));
    let mut members = Vec::new();
    groups.iter().for_each(|group| join(group, inputs, subject.as_mut(), &mut members));
    if let Some(count) = case["micro_batches"].as_u64() {
        subject.set_micro_batches(count as u32);
    }
    let factor = case["row_factor"].as_f64().unwrap_or(1.0);
    let mut lines = Vec::new();
    for (number, step) in (1..).zip(list(&case["steps"])) {
        if let Some(added) = step.get("add").filter(|value| !value.is_null()) {
            let added = group(added);
            subject.add_group(&added);
            join(&added, inputs, subject.as_mut(), &mut members);
        }
        if let Some(max_norm) = step["max_norm"].as_f64() {
            subject.set_max_norm(max_norm);
        }
        for (group, lr) in list(&step["lrs"]).iter().enumerate() {
            subject.set_lr(group, lr.as_f64().expect("a rate"));
        }
        for name in &members {
            let frozen = list(&step["frozen"]).iter().any(|frozen| *frozen == name.as_str());
            subject.set_frozen(name, frozen);
            subject.set_grad(name, &gradient(step, name, factor, inputs, frozen));
        }
        subject.step();
        lines.extend(look(subject.as_mut(), number, false));
    }
    lines
}

/// Sets a new group's parameters.
fn join(group: &Group, inputs: &Inputs, subject: &mut dyn Subject, members: &mut Vec<String>) {
    for (name, _) in &group.params {
        let (_, start, _) = inputs.0.iter().find(|input| input.0 == *name).expect("an input");
        subject.set_param(name, start);
        members.push(name.clone());
    }
}

/// A parameter's gradient in a step: the sum over its micro-batches, with what is not finite. That
/// of a frozen one counts for nothing, and is NaN.
fn gradient(step: &Value, name: &str, factor: f64, inputs: &Inputs, frozen: bool) -> Vec<f64> {
    let (_, start, rows) = inputs.0.iter().find(|input| input.0 == name).expect("an input");
    if frozen {
        return vec![f64::NAN; start.len()];
    }
    let factor = factor * step["scale"].as_f64().unwrap_or(1.0);
    let mut sum = vec![0.0; start.len()];
    for row in list(&step["rows"]) {
        let row = &rows[index(row) * start.len()..][..start.len()];
        sum.iter_mut().zip(row).for_each(|(sum, g)| *sum += g * factor);
    }
    for place in list(&step["non_finite"]).iter().filter(|place| place[1] == name) {
        let value: f64 = place[3].as_str().and_then(|text| text.parse().ok()).expect("a number");
        sum[index(&place[2])] = value;
    }
    sum
}
