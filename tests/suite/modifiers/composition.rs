//! Every rule with modifiers against what they are to come to, written a second time: the rule's
//! own step in f64, and the formulas around it.

use super::golden::{read_cpu, read_gpu};
use super::text::{all, each};
use crate::common;
use crate::common::cases::{cases, label};
use crate::common::exact::coeffs_at;
use crate::common::facts::FACTS;
use crate::common::random::Random;
use crate::common::steps::Steps;
use crate::golden::{F32_FACTOR, F32_FLOOR, larger};
use wgpu_optim::optimizer::{Builder, Engine, Optimizer};
use wgpu_optim::{
    Adam, Average, AverageKind, CpuOptimizer, DecayKind, DynRule, Gpu, LAMB, Modifiers, NAdam, Real,
};

/// Odd lengths: one element, a part of a block, and more than one.
const LENS: [usize; 3] = [1, 67, 301];
const STEPS: usize = 9;
/// The step, counted from 0, whose gradients are not finite, and those that find p1 frozen.
const SKIPPED: usize = 2;
const FROZEN: [usize; 2] = [4, 5];

fn names() -> [String; 3] {
    std::array::from_fn(|index| format!("p{index}"))
}

/// Parameters from 0.5 to 2, gradients from 0.1 to 1, of either sign.
struct Data {
    params: Vec<Vec<f32>>,
    grads: Vec<Vec<Vec<f32>>>,
}

fn data() -> Data {
    let mut random = Random::new(7);
    let mut vec = |len: usize, low: f64, high: f64| -> Vec<f32> {
        let mut number = || {
            let sign = if random.next().is_multiple_of(2) { 1.0 } else { -1.0 };
            (sign * (low + (high - low) * random.unit())) as f32
        };
        (0..len).map(|_| number()).collect()
    };
    let params = LENS.map(|len| vec(len, 0.5, 2.0)).to_vec();
    let grads = (0..STEPS).map(|_| LENS.map(|len| vec(len, 0.1, 1.0)).to_vec()).collect();
    Data { params, grads }
}

/// A tensor: its parameter, its average and its slow copy.
#[derive(Debug, Clone, Default)]
struct Tensor([Vec<f64>; 3]);

/// All tensors after each step.
type Run = Vec<Vec<Tensor>>;

fn is_frozen(step: usize, tensor: usize) -> bool {
    tensor == 1 && FROZEN.contains(&step)
}

/// What an optimizer runs on.
trait On<E: Engine> {
    fn build(&self, builder: Builder<E>) -> Optimizer<E>;
    fn step(&self, optimizer: &mut Optimizer<E>);
}

/// The default of an engine.
struct Host;

impl<E: Steps> On<E> for Host {
    fn build(&self, builder: Builder<E>) -> Optimizer<E> {
        E::build(builder)
    }
    fn step(&self, optimizer: &mut Optimizer<E>) {
        E::step(optimizer);
    }
}

/// A device that binds more buffers, and has subgroups if the adapter has.
struct Large;

impl On<Gpu> for Large {
    fn build(&self, builder: Builder<Gpu>) -> Optimizer<Gpu> {
        let device = common::gpu::Gpu::adapter_limits();
        builder.build(&device.device, &device.queue).expect("built")
    }
    fn step(&self, optimizer: &mut Optimizer<Gpu>) {
        let device = common::gpu::Gpu::adapter_limits();
        let mut encoder = device.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        device.submit(encoder);
    }
}

/// A run on an engine.
fn run<E: Steps>(
    rule: &dyn DynRule,
    data: &Data,
    on: &impl On<E>,
    read: impl Fn(&Optimizer<E>, &str, Option<&str>) -> Vec<f64>,
) -> Run {
    let params: Vec<_> = names().into_iter().zip(LENS).collect();
    let builder = Builder::<E>::default().group(rule.boxed(), params).skip_non_finite();
    let mut optimizer = on.build(builder);
    let cast = |values: &[f32]| -> Vec<E::Element> {
        values.iter().map(|&x| E::Element::from_f64(x.into())).collect()
    };
    for (name, values) in names().iter().zip(&data.params) {
        optimizer.set_param(name.as_str(), &cast(values)).expect("set");
    }
    let has = |state: &str| rule.states().iter().any(|known| known.name == state);
    let (averages, slows) = (has("average"), has("slow"));
    let mut run = Run::new();
    for (step, grads) in data.grads.iter().enumerate() {
        optimizer.set_frozen(["p1"], is_frozen(step, 1)).expect("known");
        for (name, grad) in names().iter().zip(grads) {
            let bad = vec![f32::NAN; grad.len()];
            let grad = if step == SKIPPED { &bad } else { grad };
            optimizer.set_grad(name.as_str(), &cast(grad)).expect("set");
        }
        on.step(&mut optimizer);
        let tensor = |name: &String| {
            let state = |on: bool, state| match on {
                true => read(&optimizer, name, Some(state)),
                false => Vec::new(),
            };
            let param = read(&optimizer, name, None);
            Tensor([param, state(averages, "average"), state(slows, "slow")])
        };
        run.push(names().iter().map(tensor).collect());
    }
    run
}

/// What an average of a parameter moves by after step `t`, and where from.
fn average(of: &Average, t: u64, old: f64, p: f64, before: f64) -> f64 {
    if t <= of.start {
        return p;
    }
    let from = if t == 1 { old } else { before };
    if !(t - of.start).is_multiple_of(of.every) {
        return from;
    }
    let n = ((t - of.start) / of.every) as f64;
    match of.kind {
        AverageKind::Ema { decay } => decay * from + (1.0 - decay) * p,
        AverageKind::EmaWarmUp { decay } => {
            let decay = decay.min((1.0 + n) / (10.0 + n));
            from - (1.0 - decay) * (from - p)
        }
        AverageKind::EmaOfCopy { .. } if n == 1.0 => p,
        AverageKind::EmaOfCopy { decay } => decay * from + (1.0 - decay) * p,
        AverageKind::Uniform => from + (p - from) / n,
        other => panic!("how does {other:?} average?"),
    }
}

/// What a tensor becomes in step `t`, which the rule by itself takes to `updated`.
fn composed(
    m: &Modifiers,
    (lr, t): (f64, u64),
    tensor: &Tensor,
    g: &[f64],
    updated: &[f64],
    own_decay: f64,
) -> Tensor {
    let Tensor([old, averages, slows]) = tensor;
    let count = old.len() as f64;
    let mut u: Vec<_> = old.iter().zip(updated).map(|(old, new)| old - new).collect();
    if let Some(d) = m.clip_update {
        let rms = (u.iter().map(|u| (u / lr).powi(2)).sum::<f64>() / count).sqrt();
        u.iter_mut().for_each(|u| *u /= (rms / d).max(1.0));
    }
    if m.cautious {
        let mask: Vec<_> = u.iter().zip(g).map(|(u, g)| f64::from(u8::from(u * g > 0.0))).collect();
        let mean = (mask.iter().sum::<f64>() / count).max(1e-3);
        u.iter_mut().zip(mask).for_each(|(u, mask)| *u *= mask / mean);
    }
    let share = m.decay.map_or(own_decay, |decay| match decay.kind {
        DecayKind::Decoupled => lr * decay.weight_decay,
        DecayKind::Independent { max_lr } => lr * decay.weight_decay / max_lr,
        DecayKind::Corrected { max_lr } => lr * lr * decay.weight_decay / max_lr,
        DecayKind::Fixed => decay.weight_decay,
        other => panic!("what does {other:?} take away?"),
    });
    let mut after = Tensor::default();
    for (i, &p0) in old.iter().enumerate() {
        let decays = m.decay.is_none_or(|decay| !decay.cautious || u[i] * p0 >= 0.0);
        let mut p = p0 * (1.0 - if decays { share } else { 0.0 }) - u[i];
        if let Some((low, high)) = m.bounds {
            p = p.clamp(low, high);
        }
        if let Some(of) = m.lookahead {
            let mut slow = if t == 1 { p0 } else { slows[i] };
            if t.is_multiple_of(of.k) {
                slow += of.alpha * (p - slow);
                p = slow;
            }
            after.0[2].push(slow);
        }
        after.0[0].push(p);
        if let Some(of) = &m.average {
            let before = averages.get(i).copied().unwrap_or_default();
            after.0[1].push(average(of, t, p0, p, before));
        }
    }
    after
}

/// The run that modifiers of a rule are to come to, in f64.
fn expected(rule: &dyn DynRule, data: &Data) -> Run {
    let (own, m) = (rule.own(), rule.modifiers().expect("some"));
    let group = names().into_iter().zip(LENS);
    let mut base = CpuOptimizer::<f64>::builder().group(own.boxed(), group).build().expect("built");
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let start = |values: &Vec<f32>| Tensor([wide(values), Vec::new(), Vec::new()]);
    let mut tensors: Vec<_> = data.params.iter().map(start).collect();
    let mut steps = [0; LENS.len()];
    let mut run = Run::new();
    for (step, grads) in data.grads.iter().enumerate() {
        if step == SKIPPED {
            run.push(tensors.clone());
            continue;
        }
        base.set_frozen(["p1"], is_frozen(step, 1)).expect("known");
        let mut clipped: Vec<_> = grads.iter().map(|grad| wide(grad)).collect();
        for (tensor, name) in names().iter().enumerate() {
            let norm = clipped[tensor].iter().map(|g| g * g).sum::<f64>().sqrt();
            let factor = m.clip_grad_tensor.map_or(1.0, |most| (most / norm).min(1.0));
            clipped[tensor].iter_mut().for_each(|g| *g *= factor);
            base.set_param(name.as_str(), &tensors[tensor].0[0]).expect("set");
            base.set_grad(name.as_str(), &clipped[tensor]).expect("set");
        }
        base.step().expect("stepped");
        for (tensor, name) in names().iter().enumerate() {
            if is_frozen(step, tensor) {
                continue;
            }
            steps[tensor] += 1;
            let t = steps[tensor];
            let coeffs = coeffs_at(own, t);
            let (ascends, decay) = (coeffs[0] != 0.0, coeffs[2]);
            let old = &tensors[tensor];
            let found = base.param(name.as_str()).expect("known");
            let updated: Vec<_> =
                found.iter().zip(&old.0[0]).map(|(p, old)| p + decay * old).collect();
            let sign = if ascends { -1.0 } else { 1.0 };
            let g: Vec<_> = clipped[tensor].iter().map(|g| sign * g).collect();
            tensors[tensor] = composed(m, (own.lr(), t), old, &g, &updated, decay);
        }
        run.push(tensors.clone());
    }
    run
}

/// The largest difference of two runs, in parts of each array's largest number.
fn error(what: &str, found: &Run, exact: &Run) -> f64 {
    let mut worst = 0f64;
    for (step, (found, exact)) in found.iter().zip(exact).enumerate() {
        for (Tensor(found), Tensor(exact)) in found.iter().zip(exact) {
            for (array, (found, exact)) in found.iter().zip(exact).enumerate() {
                let not_yet = exact.is_empty() && found.iter().all(|&x| x == 0.0);
                assert!(found.len() == exact.len() || not_yet, "{what}: array {array}");
                let scale = exact.iter().fold(1e-3, |scale: f64, x| scale.max(x.abs()));
                let off = found.iter().zip(exact).map(|(x, exact)| (x - exact).abs() / scale);
                worst = larger(worst, off.fold(0.0, larger));
                assert!(!worst.is_nan(), "{what}: NaN in array {array} after step {step}");
            }
        }
    }
    worst
}

/// A rule with these modifiers; without the decay if the rule has its own.
fn on(modifiers: Modifiers, rule: &dyn DynRule) -> Box<dyn DynRule> {
    let modified = modifiers.on(rule.boxed());
    match modified.validate() {
        Ok(()) => modified,
        Err(_) => Modifiers { decay: None, ..modifiers }.on(rule.boxed()),
    }
}

/// The modifiers of a walk: each by itself and all together, and every kind of average and decay.
fn walked() -> Vec<Modifiers> {
    let none = Modifiers::default();
    let averages = [
        Average::new(AverageKind::Ema { decay: 0.7 }),
        Average { start: 2, every: 3, ..Average::new(AverageKind::Ema { decay: 0.7 }) },
        Average { every: 2, ..Average::new(AverageKind::EmaWarmUp { decay: 0.4 }) },
        Average { start: 3, ..Average::new(AverageKind::EmaOfCopy { decay: 0.7 }) },
        Average { every: 2, ..Average::new(AverageKind::EmaOfCopy { decay: 0.7 }) },
        Average::swa(0, 1),
        Average::swa(2, 2),
    ];
    let averages = averages.map(|average| Modifiers { average: Some(average), ..none });
    let of_all = all().decay.expect("decay");
    let kinds = [
        DecayKind::Independent { max_lr: 2.0 },
        DecayKind::Corrected { max_lr: 3.0 },
        DecayKind::Fixed,
    ];
    let decay = |kind| wgpu_optim::Decay { kind, ..of_all };
    let decays = kinds.map(|kind| Modifiers { decay: Some(decay(kind)), ..none });
    each().into_iter().chain(averages).chain(decays).collect()
}

#[test]
fn the_f64_reference_is_the_rule_with_the_formulas_around_it() {
    let data = data();
    for rule in cases() {
        for modifiers in walked() {
            let rule = on(modifiers, rule.as_ref());
            let (found, exact) =
                (run(rule.as_ref(), &data, &Host, read_cpu::<f64>), expected(rule.as_ref(), &data));
            let what = label(rule.as_ref());
            let off = error(&what, &found, &exact);
            assert!(off <= 1e-12, "{what}: off by {off:e}");
        }
    }
}

/// Panics unless the GPU is as near to what is expected as f32 on the CPU.
fn check_gpu(rule: &dyn DynRule, data: &Data, on: &impl On<Gpu>) {
    let what = label(rule);
    let exact = expected(rule, data);
    let cpu = error(&what, &run(rule, data, &Host, read_cpu::<f32>), &exact);
    let gpu = error(&what, &run(rule, data, on, read_gpu), &exact);
    assert!(gpu <= (F32_FACTOR * cpu).max(F32_FLOOR), "{what}: off by {gpu:e}, cpu {cpu:e}");
}

#[test]
fn every_rule_on_the_gpu_is_as_near_to_it_as_f32_on_the_cpu() {
    let data = data();
    for rule in FACTS.iter().flat_map(|facts| (facts.changed)()) {
        check_gpu(on(all(), rule.as_ref()).as_ref(), &data, &Large);
    }
}

#[test]
fn every_modifier_on_the_gpu_is_as_near_to_it_as_f32_on_the_cpu() {
    let data = data();
    let some: [Box<dyn DynRule>; 3] =
        [Adam::default().into(), LAMB::default().into(), NAdam::default().into()];
    for rule in some {
        for modifiers in walked().into_iter().filter(|modifiers| *modifiers != all()) {
            check_gpu(on(modifiers, rule.as_ref()).as_ref(), &data, &Host);
        }
    }
}
