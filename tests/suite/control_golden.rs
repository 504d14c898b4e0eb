//! Clipping, loss scaling, skipping, accumulation, freezing and schedules as PyTorch does them
//! (`tests/control/generate.py`), followed in f64 and f32 on the CPU and in f32 on the GPU.

use crate::common::gpu::Gpu;
use crate::golden::{F32_FACTOR, F32_FLOOR, larger, numbers, rule};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use wgpu_optim::schedule::{CosineAnnealing, Schedule};
use wgpu_optim::{CpuOptimizer, DynRule, GradScaler, NonFinite, Optimizer, Real};

/// How far the f64 reference may be from PyTorch's f64 run, relatively. At most 7.4e-13 was measured, at an
/// element that passes zero and is 1e-4 of what it was.
const F64_TOLERANCE: f64 = 1e-12;

/// How far a scheduled rate may be, as in `schedules.rs`.
const LR_TOLERANCE: f64 = 1e-13;

/// What all cases start from.
struct Inputs {
    params: BTreeMap<String, Vec<f32>>,
    /// Rows of each parameter's gradient.
    grads: BTreeMap<String, Vec<Vec<f32>>>,
    /// The elements that cases record, of each parameter in the order of their record.
    kept: Vec<(String, Vec<usize>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control")
}

impl Inputs {
    fn load() -> Self {
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
struct Group {
    rule: Box<dyn DynRule>,
    lr: f64,
    params: Vec<String>,
}

/// A step: what happens in it, and what PyTorch made of it.
struct Step {
    /// The rows of gradients, one a micro-batch.
    rows: Vec<usize>,
    /// Micro-batch, parameter, element, value.
    non_finite: Vec<(usize, String, usize, f32)>,
    frozen: Vec<String>,
    add: Option<Group>,
    max_norm: Option<f64>,
    lrs: Vec<f64>,
    skipped: bool,
    scaled: Option<Scaled>,
    /// Steps that each parameter has behind it.
    taken: BTreeMap<String, u64>,
}

/// What a step made of the loss scale.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scaled {
    scale: f32,
    next_scale: f32,
    growth_tracker: u32,
}

/// Clipping by a norm.
#[derive(Clone, Copy)]
enum Clip {
    L2(f64),
    Max(f64),
}

/// A library's run.
struct Case {
    name: String,
    groups: Vec<Group>,
    clip_norm: Option<Clip>,
    clip_value: Option<f64>,
    scaler: Option<GradScaler>,
    micro_batches: u32,
    row_factor: f32,
    /// `T_max` and `eta_min`.
    cosine: Option<(u64, f64)>,
    steps: Vec<Step>,
    /// What is recorded after each step, by its name, and the library's own error in f32.
    records: BTreeMap<String, (Vec<Vec<f64>>, f64)>,
}

fn strings(values: &[Value]) -> Vec<String> {
    values.iter().map(|value| value.as_str().expect("a text").into()).collect()
}

fn group(value: &Value, rule_name: &str, case: &str) -> Group {
    let members = Members::of(value);
    let hyper = members.get("hyper").and_then(Value::as_object).expect("hyperparameters");
    let group = Group {
        rule: rule(rule_name, hyper, case),
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
    fn load(path: &Path) -> Self {
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
    fn decides(&self) -> bool {
        self.clip_norm.is_some() || self.scaler.is_some()
    }

    /// A group's rate at a step, by this crate's schedule.
    fn lr(&self, lr: f64, step: usize) -> f64 {
        let cosine = |(t_max, eta_min)| {
            Schedule::from(CosineAnnealing { lr, t_max, eta_min }).lr(step as u64)
        };
        self.cosine.map_or(lr, cosine)
    }

    /// A parameter's gradients in a step, one a micro-batch, as an engine would compute them.
    fn gradients(&self, inputs: &Inputs, step: &Step, name: &str) -> Vec<Vec<f32>> {
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

fn cases() -> Vec<Case> {
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

/// What an optimizer tells of a step; `None` where it does not tell.
#[derive(Debug, Default)]
struct Told {
    norm: Option<f64>,
    clip: Option<f64>,
    scale: Option<f32>,
    next_scale: Option<f32>,
    growth_tracker: Option<u32>,
    is_skipped: Option<bool>,
    skipped: Option<u64>,
    steps: Option<u64>,
    non_finite: Option<(u32, Option<NonFinite>)>,
}

/// An optimizer that follows.
trait Follower {
    fn add_group(&mut self, rule: Box<dyn DynRule>, params: Vec<(String, usize)>) -> usize;
    fn set_param(&mut self, name: &str, values: &[f32]);
    /// Sets a gradient to the sum of these, added up in the optimizer's own arithmetic.
    fn set_grad(&mut self, name: &str, micro_batches: &[Vec<f32>], scale: f32);
    fn set_frozen(&mut self, name: &str, frozen: bool);
    fn set_lr(&mut self, group: usize, lr: f64);
    fn set_max_norm(&mut self, max_norm: f64);
    fn step(&mut self, case: &Case) -> Told;
    fn param(&self, name: &str) -> Vec<f64>;
    fn state(&self, name: &str, state: &str) -> Vec<f64>;
    fn taken(&self, name: &str) -> u64;
}

/// Sums of micro-batches' gradients.
fn sums<T: Copy + std::ops::Add<Output = T>>(
    micro_batches: &[Vec<f32>],
    convert: impl Fn(f32) -> T,
) -> Vec<T> {
    let element = |index: usize| {
        let values = micro_batches.iter().map(|gradient| convert(gradient[index]));
        values.reduce(|sum, value| sum + value).expect("a micro-batch")
    };
    (0..micro_batches[0].len()).map(element).collect()
}

impl<T: Real> Follower for CpuOptimizer<T> {
    fn add_group(&mut self, rule: Box<dyn DynRule>, params: Vec<(String, usize)>) -> usize {
        self.add_group(rule, params).expect("added")
    }
    fn set_param(&mut self, name: &str, values: &[f32]) {
        let values: Vec<T> = values.iter().map(|&x| T::from_f64(x.into())).collect();
        self.set_param(name, &values).expect("set");
    }
    fn set_grad(&mut self, name: &str, micro_batches: &[Vec<f32>], scale: f32) {
        // PyTorch rounds the scale's reciprocal to f32, even where gradients are f64. That is exact for powers
        // of two; for others these gradients make up for it.
        let reciprocal = f64::from((1.0 / f64::from(scale)) as f32) * f64::from(scale);
        let gradient = sums(micro_batches, |g| T::from_f64(f64::from(g) * reciprocal));
        self.set_grad(name, &gradient).expect("set");
    }
    fn set_frozen(&mut self, name: &str, frozen: bool) {
        self.set_frozen([name], frozen).expect("known");
    }
    fn set_lr(&mut self, group: usize, lr: f64) {
        self.set_lr(group, lr).expect("set");
    }
    fn set_max_norm(&mut self, max_norm: f64) {
        self.set_clip_grad_norm(max_norm).expect("set");
    }
    fn step(&mut self, case: &Case) -> Told {
        let scale = self.loss_scale().ok();
        let skipped = self.skipped();
        self.step().expect("stepped");
        Told {
            norm: case.decides().then(|| self.grad_norm()),
            scale,
            next_scale: self.loss_scale().ok(),
            is_skipped: Some(self.skipped() > skipped),
            skipped: Some(self.skipped()),
            ..Told::default()
        }
    }
    fn param(&self, name: &str) -> Vec<f64> {
        self.param(name).expect("known").iter().map(|x| x.to_f64()).collect()
    }
    fn state(&self, name: &str, state: &str) -> Vec<f64> {
        self.state(name, state).expect("known").iter().map(|x| x.to_f64()).collect()
    }
    fn taken(&self, name: &str) -> u64 {
        self.steps(name).expect("known")
    }
}

/// An optimizer on the GPU, and the steps of its parameters as last told.
struct OnGpu {
    gpu: &'static Gpu,
    optimizer: Optimizer,
    has_statistics: bool,
    taken: BTreeMap<String, u64>,
}

fn widened(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

impl Follower for OnGpu {
    fn add_group(&mut self, rule: Box<dyn DynRule>, params: Vec<(String, usize)>) -> usize {
        self.optimizer.add_group(rule, params).expect("added")
    }
    fn set_param(&mut self, name: &str, values: &[f32]) {
        self.optimizer.set_param(name, values).expect("set");
    }
    fn set_grad(&mut self, name: &str, micro_batches: &[Vec<f32>], _: f32) {
        self.optimizer.set_grad(name, &sums(micro_batches, |g| g)).expect("set");
    }
    fn set_frozen(&mut self, name: &str, frozen: bool) {
        self.optimizer.set_frozen([name], frozen).expect("known");
    }
    fn set_lr(&mut self, group: usize, lr: f64) {
        self.optimizer.set_lr(group, lr).expect("set");
    }
    fn set_max_norm(&mut self, max_norm: f64) {
        self.optimizer.set_clip_grad_norm(max_norm).expect("set");
    }
    fn step(&mut self, case: &Case) -> Told {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).expect("recorded");
        self.gpu.submit(encoder);
        if !self.has_statistics && !case.decides() {
            return Told::default();
        }
        let read = self.optimizer.read_statistics().and_then(|r| r.wait()).expect("read");
        if case.scaler.is_some() {
            // Where an engine finds it.
            let buffer = self.gpu.read(self.optimizer.loss_scale().expect("a scale"));
            assert_eq!(f32::from_bits(buffer[0]), read.next_loss_scale, "{}", case.name);
        }
        self.taken = read.parameters.into_iter().map(|p| (p.name, p.steps.into())).collect();
        Told {
            norm: Some(read.grad_norm.into()),
            clip: Some(read.clip.into()),
            scale: Some(read.loss_scale),
            next_scale: Some(read.next_loss_scale),
            growth_tracker: Some(read.growth_tracker),
            is_skipped: Some(read.is_skipped),
            skipped: Some(read.skipped.into()),
            steps: Some(read.steps.into()),
            non_finite: Some((read.non_finite, read.first_non_finite)),
        }
    }
    fn param(&self, name: &str) -> Vec<f64> {
        widened(self.optimizer.read_param(name).and_then(|r| r.wait()).expect("read"))
    }
    fn state(&self, name: &str, state: &str) -> Vec<f64> {
        widened(self.optimizer.read_state(name, state).and_then(|r| r.wait()).expect("read"))
    }
    fn taken(&self, name: &str) -> u64 {
        match self.taken.get(name) {
            Some(&steps) => steps,
            None => self.optimizer.steps(name).expect("known"),
        }
    }
}

/// A builder with a case's settings; on GPU and CPU its methods have the same names.
macro_rules! builder {
    ($optimizer:ty, $case:expr, $inputs:expr) => {{
        let mut builder = <$optimizer>::builder();
        for group in &$case.groups {
            builder = builder.group(group.rule.boxed(), $inputs.lens(&group.params));
        }
        builder = match $case.clip_norm {
            None => builder,
            Some(Clip::L2(max_norm)) => builder.clip_grad_norm(max_norm),
            Some(Clip::Max(max_norm)) => builder.clip_grad_norm_max(max_norm),
        };
        if let Some(value) = $case.clip_value {
            builder = builder.clip_grad_value(value);
        }
        if let Some(scaler) = $case.scaler {
            builder = builder.grad_scaler(scaler);
        }
        builder
    }};
}

impl Inputs {
    fn lens(&self, names: &[String]) -> Vec<(String, usize)> {
        names.iter().map(|name| (name.clone(), self.params[name].len())).collect()
    }
}

/// What a follower was found to be at after each step, by the records' names. Elements of parameters that it
/// does not have yet are `None`.
type Found = BTreeMap<String, Vec<Vec<Option<f64>>>>;

/// Holds what an optimizer tells, if it does, to what is exactly so.
fn same<T: PartialEq + std::fmt::Debug>(told: Option<T>, expected: T, what: &str) {
    if let Some(told) = told {
        assert_eq!(told, expected, "{what}");
    }
}

/// Sets a new group's parameters.
fn join<'a>(
    group: &'a Group,
    inputs: &Inputs,
    follower: &mut impl Follower,
    members: &mut Vec<&'a String>,
) {
    for name in &group.params {
        follower.set_param(name, &inputs.params[name]);
        members.push(name);
    }
}

/// Takes a case's steps. What is exact is asserted.
fn follow(case: &Case, inputs: &Inputs, follower: &mut impl Follower) -> Found {
    let mut found = Found::new();
    let mut members: Vec<&String> = Vec::new();
    let mut lrs: Vec<f64> = Vec::new();
    for group in &case.groups {
        join(group, inputs, follower, &mut members);
        lrs.push(group.lr);
    }
    let mut skipped = 0;
    for (index, step) in case.steps.iter().enumerate() {
        let label = format!("{} step {}", case.name, index + 1);
        if let Some(group) = &step.add {
            let added = follower.add_group(group.rule.boxed(), inputs.lens(&group.params));
            assert_eq!(added, lrs.len(), "{label}: the group's index");
            join(group, inputs, follower, &mut members);
            lrs.push(group.lr);
        }
        if let Some(max_norm) = step.max_norm {
            follower.set_max_norm(max_norm);
        }
        assert_eq!(lrs.len(), step.lrs.len(), "{label}: groups");
        for (group, (&base, &expected)) in lrs.iter().zip(&step.lrs).enumerate() {
            let lr = case.lr(base, index);
            assert!((lr - expected).abs() <= LR_TOLERANCE * expected, "{label}: {lr} {expected}");
            follower.set_lr(group, lr);
        }
        let mut bad: Vec<NonFinite> = Vec::new();
        for name in &members {
            let frozen = step.frozen.contains(name);
            follower.set_frozen(name, frozen);
            let mut gradients = case.gradients(inputs, step, name);
            if frozen {
                // PyTorch has none; whatever is there counts for nothing.
                gradients.iter_mut().for_each(|gradient| gradient.fill(f32::NAN));
            } else {
                let sums = sums(&gradients, |g| g);
                let of = |(at, g): (usize, &f32)| {
                    let index = at as u64;
                    (!g.is_finite()).then(|| NonFinite { parameter: name.to_string(), index })
                };
                bad.extend(sums.iter().enumerate().filter_map(of));
            }
            let scale = step.scaled.map_or(1.0, |scaled| scaled.scale);
            follower.set_grad(name, &gradients, scale);
        }

        let told = follower.step(case);

        // Exactly.
        skipped += u64::from(step.skipped);
        let scaled =
            step.scaled.unwrap_or(Scaled { scale: 1.0, next_scale: 1.0, growth_tracker: 0 });
        same(told.is_skipped, step.skipped, &format!("{label}: skip"));
        same(told.skipped, skipped, &format!("{label}: skipped so far"));
        same(told.steps, index as u64 + 1, &format!("{label}: steps"));
        same(told.scale, scaled.scale, &format!("{label}: scale"));
        same(told.next_scale, scaled.next_scale, &format!("{label}: next scale"));
        same(told.growth_tracker, scaled.growth_tracker, &format!("{label}: growth tracker"));
        let first = bad.first().cloned();
        same(told.non_finite, (bad.len() as u32, first), &format!("{label}: not finite"));
        let taken: BTreeMap<_, _> =
            members.iter().map(|name| (name.to_string(), follower.taken(name))).collect();
        assert_eq!(taken, step.taken, "{label}: steps of each parameter");

        // To be judged.
        for record in case.records.keys() {
            let kept = |array: &dyn Fn(&str) -> Vec<f64>| {
                let elements = |(name, kept): &(String, Vec<usize>)| -> Vec<Option<f64>> {
                    if !members.contains(&name) {
                        return vec![None; kept.len()];
                    }
                    let array = array(name);
                    kept.iter().map(|&index| Some(array[index])).collect()
                };
                inputs.kept.iter().flat_map(elements).collect()
            };
            let values = match (record.as_str(), record.strip_prefix("state.")) {
                ("params", _) => kept(&|name| follower.param(name)),
                (_, Some(state)) => kept(&|name| follower.state(name, state)),
                ("norms", _) => vec![told.norm],
                // Where a gradient is not finite, PyTorch's own tells nothing.
                ("clips", _) => vec![told.clip.filter(|_| bad.is_empty())],
                other => panic!("{}: not understood: {other:?}", case.name),
            };
            found.entry(record.clone()).or_default().push(values);
        }
    }
    found
}

/// How far a number is off, in parts of a size. Infinities and NaN must be where PyTorch has them.
fn off(found: f64, expected: f64, size: f64) -> f64 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    (found - expected).abs() / size
}

/// Holds each number to PyTorch's f64 one.
fn judge_f64(case: &Case, found: &Found) {
    for (record, (expected, _)) in &case.records {
        for (step, (found, expected)) in found[record].iter().zip(expected).enumerate() {
            assert_eq!(found.len(), expected.len());
            let told = found.iter().zip(expected).filter_map(|(f, e)| Some(((*f)?, *e)));
            let worst = told.map(|(f, e)| off(f, e, e.abs())).fold(0.0, larger);
            assert!(
                worst <= F64_TOLERANCE,
                "{} {record} step {}: off by {worst:e}",
                case.name,
                step + 1
            );
        }
    }
}

/// Holds an f32 run to the library's own error in f32, in parts of each element's largest magnitude.
fn judge_f32(case: &Case, inputs: &Inputs, found: &Found) {
    for (record, (expected, library_error)) in &case.records {
        let mut sizes = vec![0f64; expected[0].len()];
        if record == "params" {
            let start = |(name, kept): &(String, Vec<usize>)| {
                let param = inputs.params[name].clone();
                kept.clone().into_iter().map(move |at| f64::from(param[at]).abs())
            };
            sizes = inputs.kept.iter().flat_map(start).collect();
        }
        for row in expected {
            let finite = |(size, x): (&mut f64, &f64)| {
                *size = if x.is_finite() { size.max(x.abs()) } else { *size };
            };
            sizes.iter_mut().zip(row).for_each(finite);
        }
        let allowed = (F32_FACTOR * library_error).max(F32_FLOOR);
        for (step, (found, expected)) in found[record].iter().zip(expected).enumerate() {
            assert_eq!(found.len(), expected.len());
            let worst = found
                .iter()
                .zip(expected)
                .zip(&sizes)
                .filter_map(|((f, e), size)| Some(off((*f)?, *e, *size)))
                .fold(0.0, larger);
            assert!(
                worst <= allowed,
                "{} {record} step {}: off by {worst:e}, the library's f32 by {library_error:e}",
                case.name,
                step + 1
            );
        }
    }
}

#[test]
fn the_f64_reference_follows_every_case() {
    let inputs = Inputs::load();
    for case in cases() {
        let mut cpu = builder!(CpuOptimizer<f64>, case, inputs).build().expect("built");
        cpu.set_micro_batches(case.micro_batches).expect("set");
        judge_f64(&case, &follow(&case, &inputs, &mut cpu));
    }
}

#[test]
fn the_f32_reference_follows_every_case() {
    let inputs = Inputs::load();
    for case in cases() {
        let mut cpu = builder!(CpuOptimizer<f32>, case, inputs).build().expect("built");
        cpu.set_micro_batches(case.micro_batches).expect("set");
        judge_f32(&case, &inputs, &follow(&case, &inputs, &mut cpu));
    }
}

fn gpu_follows(has_statistics: bool) {
    let inputs = Inputs::load();
    let gpu = Gpu::default();
    for case in cases() {
        let mut builder = builder!(Optimizer, case, inputs);
        if has_statistics {
            builder = builder.statistics();
        }
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        optimizer.set_micro_batches(case.micro_batches).expect("set");
        let mut follower = OnGpu { gpu, optimizer, has_statistics, taken: BTreeMap::new() };
        judge_f32(&case, &inputs, &follow(&case, &inputs, &mut follower));
    }
}

#[test]
fn the_gpu_follows_every_case() {
    gpu_follows(false);
}

#[test]
fn the_gpu_follows_every_case_with_statistics() {
    gpu_follows(true);
}
