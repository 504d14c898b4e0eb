//! Steps in turns with what they are compared with: a copy, a kernel written by hand, PyTorch, and
//! one tensor of the same size.

use super::support::bench::Bench;
use super::support::clock;
use super::support::copy::{CpuCopy, GpuCopy, elements_that_move};
use super::support::gpu::Gpu;
use super::support::handwritten::HandwrittenAdam;
use super::support::record::Subject;
use super::support::series::time;
use super::support::shapes::Shape;
use super::support::torch::{Request, Torch, TorchOptimizer};
use super::support::turns::{Contestant, take};
use super::support::workload::{
    Placement, bytes_held, bytes_per_element, checked, cpu_stored, main_rules, ours, rule,
};
use wgpu_optim::{Format, Optimizer, Rounding, Storage};

/// The clocks.
pub const DEVICE: &str = "device clock";
pub const LATENCY: &str = "wall clock";

/// The size of the targets.
const LARGE: usize = 1 << 24;
/// A size far beyond caches.
const LARGER: usize = 1 << 28;

/// The size of the targets, and a larger one on GPUs.
fn large(bench: &Bench) -> Vec<usize> {
    match (bench.quick, bench.gpu.is_software()) {
        (true, _) => vec![4096],
        (false, true) => vec![LARGE],
        (false, false) => vec![LARGE, LARGER],
    }
}

/// Steps in each turn: one would be too short for a GPU's clocks.
pub fn steps_a_turn(gpu: &Gpu) -> u64 {
    if gpu.is_software() { 1 } else { 8 }
}

/// An optimizer of this crate as a contestant.
pub fn contestant<'a>(
    gpu: &'a Gpu,
    shape: &Shape,
    name: &str,
    placement: Placement,
    clock: &str,
) -> Contestant<'a> {
    let rule = rule(name);
    let optimizer = checked(gpu, shape, rule.as_ref(), placement);
    timed(gpu, ours(rule.as_ref(), shape, placement.name()), optimizer, clock)
}

/// An optimizer as a contestant, timed by one of the clocks.
pub fn timed<'a>(
    gpu: &'a Gpu,
    subject: Subject,
    mut optimizer: Optimizer,
    clock: &str,
) -> Contestant<'a> {
    let steps = steps_a_turn(gpu);
    match clock {
        DEVICE => Contestant::new(subject, move || clock::device(gpu, steps, &mut optimizer)),
        _ => Contestant::new(subject, move || {
            let total: f64 = (0..steps).map(|_| clock::latency(gpu, &mut optimizer)).sum();
            total / steps as f64
        }),
    }
}

/// The rules, Adam written by hand and Adam without alignment, and a copy that moves as many bytes
/// as Adam.
pub fn copy(bench: &mut Bench) {
    for elements in large(bench) {
        let shape = Shape::one(elements);
        let held: u64 = main_rules().iter().map(|rule| bytes_held(rule.as_ref(), &shape)).sum();
        if !bench.fits(&format!("rules against the copy, {}", shape.name), 3 * held / 2) {
            continue;
        }
        let gpu = &bench.gpu;
        let steps = steps_a_turn(gpu);
        let adam = rule("adam");
        let copied = elements_that_move(bytes_per_element(adam.as_ref()) * elements);
        let mut copy = GpuCopy::checked(gpu, copied);
        let mut contestants =
            vec![Contestant::new(Subject::copy(copied, &shape.name), move || {
                clock::device(gpu, steps, &mut copy)
            })];
        for rule in main_rules() {
            contestants.push(contestant(gpu, &shape, rule.name(), Placement::Arena, DEVICE));
        }
        if elements <= gpu.most_bound() {
            let mut by_hand = HandwrittenAdam::checked(gpu, elements);
            let subject = Subject { peer: "handwritten".into(), ..ours(adam.as_ref(), &shape, "") };
            contestants
                .push(Contestant::new(subject, move || clock::device(gpu, steps, &mut by_hand)));
        }
        if elements <= LARGE {
            contestants.push(contestant(gpu, &shape, "adam", Placement::Misaligned, DEVICE));
        }
        let lines = take(bench, DEVICE, contestants);
        bench.record.lines.extend(lines);
    }
}

/// Many tensors and one of the same total size, in the arena and in separate buffers.
pub fn many_tensors(bench: &mut Bench) {
    let many = if bench.quick { Shape::many(10, 260) } else { Shape::many(1000, 4096) };
    let one = Shape::one(many.elements());
    for clock in [DEVICE, LATENCY] {
        let gpu = &bench.gpu;
        let contestants = vec![
            contestant(gpu, &one, "adam", Placement::Arena, clock),
            contestant(gpu, &many, "adam", Placement::Arena, clock),
            contestant(gpu, &many, "adam", Placement::Separate, clock),
        ];
        let lines = take(bench, clock, contestants);
        bench.record.lines.extend(lines);
    }
}

/// A rule, and the optimizer of PyTorch that it is compared with on a GPU.
struct Comparison {
    rule: &'static str,
    theirs: &'static str,
    implementation: &'static str,
}

const COMPARISONS: [Comparison; 3] = [
    Comparison { rule: "adamw", theirs: "AdamW", implementation: "fused" },
    Comparison { rule: "rmsprop", theirs: "RMSprop", implementation: "foreach" },
    Comparison { rule: "adagrad", theirs: "Adagrad", implementation: "foreach" },
];

/// PyTorch's steps on the same GPU, in turns with ours.
pub fn torch_on_gpu(bench: &mut Bench) {
    if bench.quick || bench.gpu.is_software() {
        return;
    }
    let Some(torch) = Torch::open().filter(|torch| torch.borrow().cuda) else { return };
    let many = Shape::many(1000, 4096);
    let large = large(bench).into_iter().map(|elements| (Shape::one(elements), DEVICE));
    let shapes: Vec<_> = large.chain([(many.clone(), DEVICE), (many, LATENCY)]).collect();
    for (shape, clock) in shapes {
        let held = bytes_held(rule("adamw").as_ref(), &shape);
        if !bench.fits(&format!("PyTorch on the GPU, {}", shape.name), 6 * held) {
            continue;
        }
        let steps = steps_a_turn(&bench.gpu);
        let mut contestants = Vec::new();
        for Comparison { rule, theirs, implementation } in COMPARISONS {
            let tensors = &shape.tensors;
            let request = Request {
                device: "cuda",
                threads: None,
                rule: theirs,
                implementation,
                tensors,
                dtype: F32,
            };
            let Some(peer) = TorchOptimizer::make(&torch, &request) else { continue };
            let their_clock = if clock == DEVICE { "device_ms" } else { "wall_ms" };
            contestants.push(contestant(&bench.gpu, &shape, rule, Placement::Arena, clock));
            contestants
                .push(Contestant::new(theirs_subject(rule, &shape, implementation), move || {
                    peer.step(steps, their_clock)
                }));
        }
        let lines = take(bench, clock, contestants);
        bench.record.lines.extend(lines);
    }
}

fn theirs_subject(name: &str, shape: &Shape, implementation: &str) -> Subject {
    Subject { peer: "torch".into(), ..ours(rule(name).as_ref(), shape, implementation) }
}

/// Numbers of threads.
const CPU_THREADS: [usize; 2] = [2, 1];

/// PyTorch's names of types, and how we store as it does.
const F32: &str = "float32";
const BF16: &str = "bfloat16";

/// AdamW on two threads and on one, PyTorch's AdamW and a copy on as many; all in f32, and all
/// arrays in bf16.
pub fn torch_on_cpu(bench: &mut Bench) {
    let torch = if bench.quick { None } else { Torch::open() };
    let shape = Shape::one(if bench.quick { 4096 } else { LARGE });
    for threads in CPU_THREADS {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.expect("a thread pool");
        let adamw = rule("adamw");
        let copied = elements_that_move(ours(adamw.as_ref(), &shape, "").bytes);
        let mut copy = CpuCopy::new(copied);
        let pool = &pool;
        let copy = Contestant::new(Subject::copy(copied, &shape.name), move || {
            pool.install(|| time(1, || copy.parallel())).as_secs_f64()
        });
        let mut contestants = vec![copy];
        for (dtype, prefix, storage) in [
            (F32, "", Storage::f32()),
            (BF16, "bf16 ", Storage::bf16(Rounding::Nearest).states(Format::Bf16)),
        ] {
            let mut optimizer = cpu_stored(&shape, adamw.as_ref(), &storage);
            let bytes = ours(adamw.as_ref(), &shape, "").bytes / if dtype == F32 { 1 } else { 2 };
            let how = format!("{prefix}CPU {threads}");
            let subject = Subject { bytes, ..ours(adamw.as_ref(), &shape, &how) };
            contestants.push(Contestant::new(subject, move || match threads {
                1 => time(1, || optimizer.step().expect("a step")).as_secs_f64(),
                _ => {
                    let mut step = || optimizer.par_step().expect("a step");
                    pool.install(|| time(1, &mut step)).as_secs_f64()
                }
            }));
            let request = Request {
                device: "cpu",
                threads: Some(threads),
                rule: "AdamW",
                implementation: "fused",
                tensors: &shape.tensors,
                dtype,
            };
            let peer = torch.as_ref().and_then(|torch| TorchOptimizer::make(torch, &request));
            contestants.extend(peer.map(|peer| {
                let how = format!("fused {prefix}CPU {threads}");
                let subject = Subject { bytes, ..theirs_subject("adamw", &shape, &how) };
                Contestant::new(subject, move || peer.step(1, "wall_ms"))
            }));
        }
        let lines = take(bench, &format!("{threads} CPU threads"), contestants);
        bench.record.lines.extend(lines);
    }
}
