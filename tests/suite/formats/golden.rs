//! Steps of libraries that store in 16 and 8 bits (`tests/formats/generate.py`), each from the
//! library's stored state before it, on the CPU and the GPU.

use super::codecs::file;
use super::model::{Model, Placement, twin};
use crate::common::gpu::Gpu;
use crate::golden::numbers;
use safetensors::{Dtype, SafeTensors};
use wgpu_optim::internals::{Codec, Formats};
use wgpu_optim::{Adagrad, Adam, AdamW, DynRule, Format, Lion, Rounding, SGD, Storage};

/// Our states, with what the file calls each.
type States = Vec<(&'static str, &'static str)>;

struct Case {
    file: &'static str,
    rule: Box<dyn DynRule>,
    storage: Storage,
    states: States,
    /// How far an element may be from the library's.
    bound: Bound,
}

/// Bounds, from what the libraries' own arithmetic allows: constants in f32.
#[derive(Clone, Copy)]
enum Bound {
    /// One unit in the format's last place in one of a hundred; equal otherwise.
    Rounded,
    /// The same distance, however often.
    Neighbour,
    /// This share of the step and two f32 ulps, for the exact numbers.
    Exact(f64),
}

const ADAM: [(&str, &str); 2] = [("exp_avg", "state.exp_avg"), ("exp_avg_sq", "state.exp_avg_sq")];

fn cases() -> Vec<Case> {
    let adamw = |lr, weight_decay| -> Box<dyn DynRule> {
        AdamW { lr, weight_decay, ..Default::default() }.into()
    };
    let all_bf16 = |rounding| Storage::bf16(rounding).states(Format::Bf16);
    let block8 = || Storage::f32().states(Format::Block8).min_block8(0);
    let case = |file, rule, storage, states: &[(&'static str, &'static str)], bound| {
        let states = states.to_vec();
        Case { file, rule, storage, states, bound }
    };
    let adam_f16 =
        Adam { lr: 1e-2, betas: (0.8, 0.99), eps: 1e-4, weight_decay: 0.01, ..Default::default() };
    let adam_l2 = Adam { lr: 3e-3, betas: (0.85, 0.99), weight_decay: 0.01, ..Default::default() };
    let sgd = SGD { lr: 1e-2, momentum: 0.9, weight_decay: 0.01, ..Default::default() };
    let nesterov = SGD { nesterov: true, ..sgd };
    let adagrad = Adagrad { lr: 1e-2, eps: 1e-6, ..Default::default() };
    let lion = Lion { lr: 1e-4, weight_decay: 0.1, ..Default::default() };
    let nearest = Rounding::Nearest;
    let master = |storage: Storage| storage.states(Format::F32);
    vec![
        case("torch_adamw_bf16", adamw(1e-3, 0.1), all_bf16(nearest), &ADAM, Bound::Rounded),
        case("torch_adamw_bf16_one", adamw(1e-2, 0.01), all_bf16(nearest), &ADAM, Bound::Rounded),
        case(
            "torch_adam_l2_f16",
            adam_f16.into(),
            Storage::f16(nearest).states(Format::F16),
            &ADAM,
            Bound::Rounded,
        ),
        case(
            "torch_adagrad_bf16",
            adagrad.into(),
            all_bf16(nearest),
            &[("sum", "state.sum")],
            Bound::Rounded,
        ),
        case(
            "sgd_bf16",
            nesterov.into(),
            all_bf16(nearest),
            &[("momentum_buffer", "state.momentum_buffer")],
            Bound::Rounded,
        ),
        case(
            "stochastic_adamw",
            adamw(1e-4, 0.1),
            all_bf16(Rounding::Stochastic { seed: 1 }),
            &ADAM,
            Bound::Neighbour,
        ),
        case(
            "master_bf16",
            adamw(1e-3, 0.1),
            master(Storage::bf16(Rounding::Master)),
            &[ADAM[0], ADAM[1], ("master_param", "state.master_param")],
            Bound::Exact(2e-5),
        ),
        case(
            "master_f16",
            adam_l2.into(),
            master(Storage::f16(Rounding::Master)),
            &[ADAM[0], ADAM[1], ("master_param", "state.master_param")],
            Bound::Exact(2e-5),
        ),
        case(
            "remainder_bf16",
            adamw(1e-4, 0.1),
            master(Storage::bf16(Rounding::Remainder)),
            &[ADAM[0], ADAM[1], ("param_remainder", "state.master_param")],
            Bound::Exact(2e-5),
        ),
        case(
            "bnb_cuda_adam",
            Adam::default().into(),
            block8(),
            &[("exp_avg", "1"), ("exp_avg_sq", "2")],
            Bound::Exact(2e-5),
        ),
        case("bnb_cuda_lion", lion.into(), block8(), &[("exp_avg", "1")], Bound::Exact(2e-5)),
        case(
            "bnb_cuda_momentum",
            sgd.into(),
            block8(),
            &[("momentum_buffer", "1")],
            Bound::Exact(2e-5),
        ),
        case(
            "torchao_adamw8bit_f32",
            adamw(1e-3, 0.01),
            block8(),
            &[("exp_avg", "exp_avg"), ("exp_avg_sq", "exp_avg_sq")],
            Bound::Exact(2e-5),
        ),
    ]
}

/// The bytes of a row of a tensor, and the number of its elements.
pub fn row<'a>(file: &'a SafeTensors<'_>, name: &str, row: usize) -> (&'a [u8], usize, Dtype) {
    let tensor = file.tensor(name).expect("a tensor of the file");
    let len = *tensor.shape().last().expect("a dimension");
    let size = tensor.data().len() / (tensor.shape().iter().product::<usize>() / len);
    (&file.tensor(name).expect("it").data()[row * size..(row + 1) * size], len, tensor.dtype())
}

pub fn values(bytes: &[u8], len: usize, dtype: Dtype) -> Vec<f32> {
    let codec = match dtype {
        Dtype::F32 => Codec::F32,
        Dtype::BF16 => Codec::Bf16,
        Dtype::F16 => Codec::F16,
        Dtype::I16 => Codec::I16,
        other => panic!("no values in {other:?}"),
    };
    let mut values = Vec::new();
    codec.decode(bytes, len, &mut values);
    values
}

/// A state as we store it, from a row of the file.
fn stored(file: &SafeTensors<'_>, name: &str, at: usize) -> Vec<u8> {
    let (codes, scales) = match name {
        "1" | "2" => (format!("state{name}"), format!("absmax{name}")),
        _ => (format!("{name}.codes"), format!("{name}.scale")),
    };
    if file.tensor(&codes).is_err() {
        return row(file, name, at).0.to_vec();
    }
    let scales = row(file, &scales, at).0.chunks(4);
    let mut bytes = Vec::new();
    for (codes, scale) in row(file, &codes, at).0.chunks(256).zip(scales) {
        bytes.extend(scale);
        bytes.extend(codes);
        bytes.resize(bytes.len().next_multiple_of(260), 127);
    }
    bytes
}

/// What a step made, on either engine.
struct Made {
    param: Vec<f32>,
    states: Vec<Vec<u8>>,
}

/// Checks a step from the stored arrays before it.
fn check(case: &Case, formats: &Formats, step: usize, made: &Made, before: &Made, after: &Made) {
    let len = made.param.len();
    let kept = formats.kept();
    let decoded = |made: &Made, index: usize| {
        let mut values = Vec::new();
        formats.states.as_slice()[index].decode(&made.states[index], len, &mut values);
        values
    };
    let exact = |made: &Made| -> Vec<f64> {
        let kept = kept.map(|kept| decoded(made, kept));
        let join = |(i, &p): (usize, &f32)| {
            f64::from(kept.as_ref().map_or(p, |kept| formats.join(p, kept[i])))
        };
        made.param.iter().enumerate().map(join).collect()
    };
    let (found, expected, start) = (exact(made), exact(after), exact(before));
    let mut different = 0;
    for i in 0..len {
        let error = (found[i] - expected[i]).abs();
        let ulp = expected[i].abs()
            * if formats.param == Codec::F16 { 2.0f64.powi(-10) } else { 2.0f64.powi(-7) };
        different += usize::from(error != 0.0);
        let bound = match case.bound {
            Bound::Rounded | Bound::Neighbour => ulp + 1e-7,
            Bound::Exact(share) => {
                share * (expected[i] - start[i]).abs()
                    + 2.0 * f64::from(f32::EPSILON) * expected[i].abs()
                    + 1e-12
            }
        };
        assert!(
            error <= bound,
            "{} step {step} [{i}]: {:e}, {:e}",
            case.file,
            found[i],
            expected[i]
        );
    }
    if matches!(case.bound, Bound::Rounded) {
        assert!(different * 100 <= len + 99, "{} step {step}: {different} of {len}", case.file);
    }
    for index in (0..case.states.len()).filter(|index| Some(*index) != kept) {
        let (found, expected) = (decoded(made, index), decoded(after, index));
        let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let share = match formats.states.as_slice()[index] {
            Codec::F32 | Codec::I16 => 3e-5,
            Codec::F16 => 1.1e-3,
            Codec::Bf16 => 8e-3,
            // The next code, in the lowest decades twice as much.
            Codec::Block8(_) => 0.13,
        };
        let mut different = 0;
        for i in 0..len {
            let error = (found[i] - expected[i]).abs();
            different += usize::from(error > 3e-5 * expected[i].abs() + 1e-6 * largest);
            let floor = 3e-6 * largest;
            assert!(
                error <= share * expected[i].abs() + floor,
                "{} step {step} state {index} [{i}]: {:e}, {:e}",
                case.file,
                found[i],
                expected[i]
            );
        }
        // torchao and bitsandbytes code ties and negative numbers beside 0 otherwise.
        let most = len / 20 + 1;
        assert!(different <= most, "{} step {step} state {index}: {different} of {len}", case.file);
    }
}

#[test]
fn steps_from_stored_states_are_the_libraries() {
    for case in cases() {
        let bytes = file(case.file);
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let formats = Formats::of(&case.storage, case.rule.as_ref());
        let (param0, len, dtype) = row(&file, "param0", 0);
        let steps = file.tensor("params").expect("trajectory").shape()[0];
        let at = |step: usize| {
            let (param, ..) = row(&file, "params", step);
            let states = case.states.iter().map(|(_, name)| stored(&file, name, step)).collect();
            Made { param: values(param, len, dtype), states }
        };
        for step in 0..steps {
            let mut cpu = twin(case.rule.as_ref(), &case.storage, &[len]);
            let gpu = Gpu::default();
            let mut model =
                Model::new(gpu, case.rule.as_ref(), &case.storage, &[len], Placement::Arena, |b| b);
            let (grad, _, grad_type) = row(&file, "grads", step);
            let grad = values(grad, len, grad_type);
            let before = if step == 0 {
                let param = values(param0, len, dtype);
                cpu.set_param("p0", &param).expect("set");
                let of = |(state, _): &(&str, _)| cpu.state_bytes("p0", state).expect("known");
                Made { param, states: case.states.iter().map(of).collect() }
            } else {
                at(step - 1)
            };
            cpu.set_param("p0", &before.param).expect("set");
            model.optimizer.set_param("p0", &before.param).expect("set");
            for ((state, _), bytes) in case.states.iter().zip(&before.states) {
                cpu.set_state_bytes("p0", state, bytes).expect("set");
                model.optimizer.set_state_bytes("p0", state, bytes).expect("set");
            }
            cpu.set_steps("p0", step as u64).expect("set");
            model.optimizer.set_steps("p0", step as u64).expect("set");
            cpu.set_grad("p0", &grad).expect("set");
            model.optimizer.set_grad("p0", &grad).expect("set");
            cpu.step().expect("stepped");
            model.step();
            let after = at(step);
            let param = cpu.param("p0").expect("known").to_vec();
            let of = |(state, _): &(&str, _)| cpu.state_bytes("p0", state).expect("known");
            let on_cpu = Made { param, states: case.states.iter().map(of).collect() };
            let of = |(state, _): &(&str, _)| model.state(0, state);
            let on_gpu =
                Made { param: model.param(0), states: case.states.iter().map(of).collect() };
            check(&case, &formats, step, &on_cpu, &before, &after);
            check(&case, &formats, step, &on_gpu, &before, &after);
        }
    }
}

/// As in bitsandbytes, a gradient that is not finite leaves nothing in 8-bit states; unlike there,
/// and as with all other formats, its parameter becomes NaN.
#[test]
fn what_is_not_finite_is_not_stored_in_8_bits() {
    let storage = Storage::f32().states(Format::Block8).min_block8(0);
    let rule = Adam::default();
    let gpu = Gpu::default();
    let mut model = Model::new(gpu, &rule, &storage, &[300], Placement::Arena, |b| b);
    let mut grad = vec![1.0f32; 300];
    (grad[3], grad[299]) = (f32::NAN, f32::INFINITY);
    model.set(0, &[vec![1.0; 300]]);
    model.set(1, &[grad]);
    model.step();
    let state = model.optimizer.read_state("p0", "exp_avg").and_then(|read| read.wait());
    let state = state.expect("read");
    assert!(state.iter().all(|x| x.is_finite()), "{state:?}");
    assert_eq!((state[3], state[299]), (0.0, 0.0));
    assert!((state[0] - 0.1).abs() < 1e-6);
    assert!(model.param(0)[3].is_nan());
}

/// The numbers of this file's cases are there.
#[test]
fn golden_files_have_what_cases_name() {
    for case in cases() {
        let bytes = file(case.file);
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let count = file.tensor("param0").expect("there").shape()[0];
        let is_one = case.file.ends_with("_one");
        assert!(
            (count > 200 || is_one) && numbers::<u8>(&file, "grads").len() > count,
            "{}",
            case.file
        );
    }
}
