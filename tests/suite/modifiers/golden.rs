//! Runs of libraries that have modifiers built in, in f64 on the CPU and in f32 on the GPU.

use crate::common::steps::Steps;
use crate::golden::{F32_FACTOR, F32_FLOOR, larger, numbers};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use std::path::Path;
use wgpu_optim::optimizer::{Builder, Optimizer};
use wgpu_optim::{
    Adam, AdamW, Average, AverageKind, Cpu, Decay, DecayKind, DynRule, Lion, Lookahead, Modifiers,
    Real,
};

/// The largest relative difference of an f64 run.
const F64_TOLERANCE: f64 = 1e-12;

/// A library's run.
struct Case {
    name: &'static str,
    rule: Box<dyn DynRule>,
    /// The lengths of its tensors, end to end.
    lengths: Vec<usize>,
    param0: Vec<f32>,
    grads: Vec<Vec<f32>>,
    /// The learning rate of each step, if it changes.
    lr: Vec<f64>,
    params_f64: Vec<Vec<f64>>,
    params_f32: Vec<Vec<f32>>,
    /// The array that is kept of the parameter, after each step.
    kept: Option<(&'static str, Vec<Vec<f64>>)>,
}

/// A case's hyperparameters.
struct Hyper(Map<String, Value>);

impl Hyper {
    fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("{name} is no number"))
    }

    fn betas(&self) -> (f64, f64) {
        let beta = |index: usize| self.0["betas"][index].as_f64().expect("a number");
        (beta(0), beta(1))
    }

    fn adam(&self) -> Adam {
        let (lr, eps) = (self.number("lr"), self.number("eps"));
        Adam { lr, eps, betas: self.betas(), ..Default::default() }
    }

    /// The rule of cases that are about averages.
    fn base(&self) -> AdamW {
        let number = |name: &str| self.0["base"][name].as_f64().expect("a number");
        let (lr, weight_decay) = (number("lr"), number("weight_decay"));
        AdamW { lr, weight_decay, ..Default::default() }
    }

    fn decay(&self, kind: DecayKind) -> Decay {
        Decay::new(kind, self.number("weight_decay"))
    }
}

/// Every case, with the rule that reproduces it.
fn rule(name: &str, h: &Hyper) -> Box<dyn DynRule> {
    let plain = Modifiers::default();
    let cautious = Modifiers { cautious: true, ..plain };
    let decays = |decay| Modifiers { decay: Some(decay), ..plain };
    let averages = |kind| Modifiers { average: Some(Average::new(kind)), ..plain };
    match name {
        "independent_decay" => {
            let kind = DecayKind::Independent { max_lr: h.number("max_lr") };
            decays(h.decay(kind)).on(h.adam())
        }
        "adamc" => {
            let kind = DecayKind::Corrected { max_lr: h.number("lr") };
            decays(h.decay(kind)).on(h.adam())
        }
        "cautious_adamw" => {
            let Adam { lr, eps, betas, .. } = h.adam();
            let weight_decay = h.number("weight_decay");
            cautious.on(AdamW { lr, eps, betas, weight_decay, ..Default::default() })
        }
        "cautious_lion" => {
            let (lr, weight_decay) = (h.number("lr"), h.number("weight_decay"));
            cautious.on(Lion { lr, betas: h.betas(), weight_decay, ..Default::default() })
        }
        "cautious_decay" => decays(h.decay(DecayKind::Decoupled).cautious()).on(h.adam()),
        BURN => {
            let betas = (h.number("b1"), h.number("b2"));
            let adam =
                Adam { lr: h.number("lr"), betas, eps: h.number("eps"), ..Default::default() };
            decays(Decay::new(DecayKind::Decoupled, h.number("wd")).cautious()).on(adam)
        }
        "ema" => averages(AverageKind::EmaOfCopy { decay: h.number("decay") }).on(h.base()),
        "ema_warmup" => averages(AverageKind::EmaWarmUp { decay: h.number("decay") }).on(h.base()),
        "lookahead" => {
            let lookahead = Lookahead { k: h.number("k") as u64, alpha: h.number("alpha") };
            Modifiers { lookahead: Some(lookahead), ..plain }.on(h.base())
        }
        other => panic!("no rule for {other}"),
    }
}

const CASES: [&str; 8] = [
    "independent_decay",
    "adamc",
    "cautious_adamw",
    "cautious_lion",
    "cautious_decay",
    "ema",
    "ema_warmup",
    "lookahead",
];

/// Burn's AdamW, which computes its coefficients in f32,
const BURN: &str = "burn_cautious_decay";
/// and so is off the exact run by as much.
const BURN_TOLERANCE: f64 = 1e-5;

/// What a case keeps of the parameter: its name here, and in the file.
fn kept(name: &str) -> Option<[&'static str; 2]> {
    match name {
        "ema" | "ema_warmup" => Some(["average", "traj_f64.ema"]),
        "lookahead" => Some(["slow", "traj_f64.slow"]),
        _ => None,
    }
}

fn load(name: &'static str) -> Case {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/modifiers");
    let bytes = std::fs::read(folder.join(name).with_extension("safetensors")).expect("readable");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let metadata = header.metadata().clone().expect("metadata");
    let hyper = Hyper(serde_json::from_str(&metadata["hyper"]).expect("JSON"));
    let param0: Vec<f32> = numbers(&file, "param0");
    let n = param0.len();
    let lengths = metadata.get("lengths").map(|text| serde_json::from_str(text).expect("JSON"));
    let wide = |tensor| numbers::<f64>(&file, tensor).chunks(n).map(<[f64]>::to_vec).collect();
    let narrow = |tensor| numbers::<f32>(&file, tensor).chunks(n).map(<[f32]>::to_vec).collect();
    let lr = if file.names().contains(&"lr") { numbers(&file, "lr") } else { Vec::new() };
    Case {
        name,
        rule: rule(name, &hyper),
        lengths: lengths.unwrap_or_else(|| vec![n]),
        grads: narrow("grads"),
        lr,
        params_f64: wide("params_f64"),
        params_f32: narrow("params_f32"),
        kept: kept(name).map(|[own, theirs]| (own, wide(theirs))),
        param0,
    }
}

/// Parameters, and what is kept of them, after each step.
type Run = Vec<[Vec<f64>; 2]>;

/// Follows a case on an engine.
fn follow<E: Steps>(
    case: &Case,
    read: impl Fn(&Optimizer<E>, &str, Option<&str>) -> Vec<f64>,
) -> Run {
    let names: Vec<_> = (0..case.lengths.len()).map(|index| format!("p{index}")).collect();
    let params: Vec<_> = names.iter().cloned().zip(case.lengths.iter().copied()).collect();
    let mut optimizer = E::build(Builder::default().group(case.rule.boxed(), params));
    let cast = |values: &[f32]| -> Vec<E::Element> {
        values.iter().map(|&x| E::Element::from_f64(x.into())).collect()
    };
    let parts = |values: &[f32]| {
        let mut first = 0;
        let part = |&len: &usize| {
            first += len;
            cast(&values[first - len..first])
        };
        case.lengths.iter().map(part).collect::<Vec<_>>()
    };
    for (name, values) in names.iter().zip(parts(&case.param0)) {
        optimizer.set_param(name.as_str(), &values).expect("set");
    }
    let mut run = Run::new();
    for (step, grad) in case.grads.iter().enumerate() {
        for (name, values) in names.iter().zip(parts(grad)) {
            optimizer.set_grad(name.as_str(), &values).expect("set");
        }
        if let Some(&lr) = case.lr.get(step) {
            optimizer.set_lr(0, lr).expect("set");
        }
        E::step(&mut optimizer);
        let all = |state: Option<&str>| {
            names.iter().flat_map(|name| read(&optimizer, name, state)).collect::<Vec<_>>()
        };
        let kept = case.kept.as_ref().map_or_else(Vec::new, |(state, _)| all(Some(state)));
        run.push([all(None), kept]);
    }
    run
}

pub fn read_cpu<T: Real>(cpu: &Optimizer<Cpu<T>>, name: &str, state: Option<&str>) -> Vec<f64> {
    let values = match state {
        Some(state) => cpu.state(name, state),
        None => cpu.param(name),
    };
    values.expect("known").iter().map(|x| x.to_f64()).collect()
}

pub fn read_gpu(gpu: &wgpu_optim::Optimizer, name: &str, state: Option<&str>) -> Vec<f64> {
    let values = match state {
        Some(state) => gpu.read_state(name, state),
        None => gpu.read_param(name),
    };
    values.and_then(|r| r.wait()).expect("read").into_iter().map(f64::from).collect()
}

/// The largest difference of two runs of an array, in parts of each element's largest magnitude.
fn error(case: &Case, found: &[Vec<f64>], exact: &[Vec<f64>]) -> f64 {
    let mut scale: Vec<_> = case.param0.iter().map(|&x| f64::from(x).abs()).collect();
    for params in exact {
        scale.iter_mut().zip(params).for_each(|(scale, p)| *scale = scale.max(p.abs()));
    }
    let of_step = |(found, exact): (&Vec<f64>, &Vec<f64>)| {
        assert_eq!(found.len(), exact.len(), "{}", case.name);
        let off = found.iter().zip(exact).zip(&scale).map(|((x, exact), scale)| match x == exact {
            true => 0.0,
            false => (x - exact).abs() / scale,
        });
        off.fold(0.0, larger)
    };
    found.iter().zip(exact).map(of_step).fold(0.0, larger)
}

fn array(run: &Run, index: usize) -> Vec<Vec<f64>> {
    run.iter().map(|arrays| arrays[index].clone()).collect()
}

#[test]
fn the_f64_reference_follows_every_case() {
    for case in CASES.map(load) {
        let run = follow::<Cpu<f64>>(&case, read_cpu);
        let off = error(&case, &array(&run, 0), &case.params_f64);
        assert!(off <= F64_TOLERANCE, "{}: off by {off:e}", case.name);
        if let Some((state, exact)) = &case.kept {
            let off = error(&case, &array(&run, 1), exact);
            assert!(off <= F64_TOLERANCE, "{} {state}: off by {off:e}", case.name);
        }
    }
}

#[test]
fn the_gpu_follows_every_case() {
    for case in CASES.map(load) {
        let run = follow::<wgpu_optim::Gpu>(&case, read_gpu);
        let wide = |params: &Vec<f32>| params.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let library: Vec<_> = case.params_f32.iter().map(wide).collect();
        let allowed = (F32_FACTOR * error(&case, &library, &case.params_f64)).max(F32_FLOOR);
        let off = error(&case, &array(&run, 0), &case.params_f64);
        assert!(off <= allowed, "{}: off by {off:e}, may be {allowed:e}", case.name);
        if let Some((state, exact)) = &case.kept {
            let off = error(&case, &array(&run, 1), exact);
            assert!(off <= allowed, "{} {state}: off by {off:e}, may be {allowed:e}", case.name);
        }
    }
}

/// Burn asks whether p and the first moment are both at least 0, or both below: an element below 0
/// whose moment is 0 does not decay there. All others do as here.
#[test]
fn burn_decays_alike_but_where_nothing_moves() {
    let case = load(BURN);
    let run = follow::<Cpu<f64>>(&case, read_cpu);
    let found = array(&run, 0);
    for (element, &p) in case.param0.iter().enumerate() {
        let column = |params: &[Vec<f64>]| params.iter().map(|p| vec![p[element]]).collect();
        let (own, theirs): (Vec<_>, Vec<_>) = (column(&found), column(&case.params_f64));
        let of_element = Case { param0: vec![p], rule: case.rule.boxed(), ..load(BURN) };
        let off = error(&of_element, &own, &theirs);
        let is_still = p < 0.0 && case.grads[0][element] == 0.0;
        assert_eq!(off > BURN_TOLERANCE, is_still, "element {element}: off by {off:e}");
    }
}
