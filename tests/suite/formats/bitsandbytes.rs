//! Steps of bitsandbytes whose states are in codes that ours are not in: its CPU backend does not
//! take the nearest ones, and sums of squares have signs there. A step from the numbers that its
//! codes stand for is ours in f32.

use super::codecs::file;
use super::golden::{row, values};
use super::model::{Model, Placement, name, twin};
use crate::common::gpu::Gpu;
use safetensors::SafeTensors;
use wgpu_optim::internals::{Code, Codec, Map};
use wgpu_optim::{Adagrad, Adam, DynRule, Lion, RMSprop, SGD, Storage};

struct Case {
    file: &'static str,
    rule: Box<dyn DynRule>,
    /// Our states, in the file's order, and whether their codes have signs.
    states: Vec<(&'static str, bool)>,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Computed in f64 where it matters; of states the file has codes alone.
    Cpu,
    /// 1 − β in f32; the file has states before they are coded. With weight decay these kernels
    /// divide the bare gradient, which no rule here does: their parameters are not compared.
    Cuda,
}

const ELEMENT: f64 = f32::EPSILON as f64;

fn cases() -> Vec<Case> {
    let adagrad = Adagrad { lr: 1e-2, weight_decay: 0.01, ..Default::default() };
    let rmsprop = RMSprop { lr: 1e-2, alpha: 0.9, weight_decay: 0.01, ..Default::default() };
    let sgd = SGD { lr: 1e-2, momentum: 0.9, weight_decay: 0.01, ..Default::default() };
    let lion = Lion { lr: 1e-4, weight_decay: 0.1, ..Default::default() };
    let case = |file, rule: Box<dyn DynRule>, states: &[_], source| {
        let states = states.to_vec();
        Case { file, rule, states, source }
    };
    let adam = [("exp_avg", true), ("exp_avg_sq", false)];
    vec![
        case("bnb_cpu_adam8bit", Adam::default().into(), &adam, Source::Cpu),
        case("bnb_cpu_lion8bit", lion.into(), &[("exp_avg", true)], Source::Cpu),
        case("bnb_cpu_sgd8bit", sgd.into(), &[("momentum_buffer", true)], Source::Cpu),
        case("bnb_cpu_rmsprop8bit", rmsprop.into(), &[("square_avg", true)], Source::Cpu),
        case("bnb_cpu_adagrad8bit", adagrad.into(), &[("sum", true)], Source::Cpu),
        case("bnb_cuda_rmsprop", rmsprop.into(), &[("square_avg", true)], Source::Cuda),
        case("bnb_cuda_adagrad", adagrad.into(), &[("sum", true)], Source::Cuda),
    ]
}

impl Case {
    /// The numbers of a state after a step, as they are stored.
    fn state(&self, file: &SafeTensors<'_>, index: usize, step: usize) -> Vec<f32> {
        let (codes, len, _) = row(file, &self.tensor("state", index), step);
        let mut bytes = Vec::new();
        for (codes, scale) in codes.chunks(256).zip(self.scales(file, index, step)) {
            bytes.extend(scale.to_le_bytes());
            bytes.extend(codes);
            bytes.resize(bytes.len().next_multiple_of(260), 0);
        }
        let mut values = Vec::new();
        let code = Code { map: Map::Dynamic, signed: self.states[index].1 };
        Codec::Block8(code).decode(&bytes, len, &mut values);
        values
    }

    fn scales(&self, file: &SafeTensors<'_>, index: usize, step: usize) -> Vec<f32> {
        let (bytes, len, dtype) = row(file, &self.tensor("absmax", index), step);
        values(bytes, len, dtype)
    }

    fn tensor(&self, what: &str, index: usize) -> String {
        let folder = if self.source == Source::Cpu { "state." } else { "" };
        format!("{folder}{what}{}", index + 1)
    }

    /// Holds a step's results to the file's. `states` are ours, in f32.
    fn check(&self, file: &SafeTensors<'_>, step: usize, found: &[f32], states: &[Vec<f32>]) {
        let numbers = |name: &str, at: usize| {
            let (bytes, len, dtype) = row(file, name, at);
            values(bytes, len, dtype)
        };
        if self.source == Source::Cpu {
            let before = if step == 0 { numbers("param0", 0) } else { numbers("params", step - 1) };
            let expected = numbers("params", step);
            for (i, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                let [found, expected, before] = [found, expected, before[i]].map(f64::from);
                let bound = 1e-6 * (expected - before).abs() + 2.0 * ELEMENT * expected.abs();
                let label = format!("{} step {step} [{i}]", self.file);
                assert!((found - expected).abs() <= bound, "{label}: {found:e}, {expected:e}");
            }
        }
        for (index, found) in states.iter().enumerate() {
            let label = format!("{} step {step} state {index}", self.file);
            let largest =
                found.chunks(256).map(|block| block.iter().fold(0.0, |m, x| x.abs().max(m)));
            for (found, expected) in largest.zip(self.scales(file, index, step)) {
                let error: f32 = found - expected;
                assert!(error.abs() <= 2e-5 * expected, "{label}: {found:e}, {expected:e}");
            }
            if self.source == Source::Cuda {
                let expected = numbers(&format!("before{}", index + 1), step);
                for (&found, &expected) in found.iter().zip(&expected) {
                    let error = (found - expected).abs();
                    assert!(error <= 2e-5 * expected.abs(), "{label}: {found:e}, {expected:e}");
                }
            }
        }
    }
}

#[test]
fn steps_from_the_numbers_of_bitsandbytes_codes_are_its_own() {
    for case in cases() {
        let bytes = file(case.file);
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let steps = file.tensor("params").expect("trajectory").shape()[0];
        let len = file.tensor("param0").expect("start").shape()[0];
        let rule = case.rule.as_ref();
        let gpu = Gpu::default();
        for step in 0..steps {
            let (param, ..) =
                if step == 0 { row(&file, "param0", 0) } else { row(&file, "params", step - 1) };
            let (grad, ..) = row(&file, "grads", step);
            let [param, grad] =
                [param, grad].map(|bytes| values(bytes, len, safetensors::Dtype::F32));
            let mut cpu = twin(rule, &Storage::f32(), &[len]);
            let mut model = Model::new(gpu, rule, &Storage::f32(), &[len], Placement::Arena, |b| b);
            for (index, (state, _)) in case.states.iter().enumerate().filter(|_| step > 0) {
                let before = case.state(&file, index, step - 1);
                cpu.set_state(name(0), state, &before).expect("set");
                model.optimizer.set_state(name(0), state, &before).expect("set");
            }
            cpu.set_steps(name(0), step as u64).expect("set");
            model.optimizer.set_steps(name(0), step as u64).expect("set");
            cpu.set_param(name(0), &param).expect("set");
            cpu.set_grad(name(0), &grad).expect("set");
            model.set(0, &[param]);
            model.set(1, &[grad]);
            cpu.step().expect("stepped");
            model.step();
            let of_cpu =
                |(state, _): &(&str, _)| cpu.state(name(0), state).expect("known").to_vec();
            let of_gpu = |(state, _): &(&str, _)| {
                model.optimizer.read_state(name(0), state).and_then(|r| r.wait()).expect("read")
            };
            let states: Vec<_> = case.states.iter().map(of_cpu).collect();
            case.check(&file, step, &cpu.param(name(0)).expect("known").to_vec(), &states);
            let states: Vec<_> = case.states.iter().map(of_gpu).collect();
            case.check(&file, step, &model.param(0), &states);
        }
    }
}
