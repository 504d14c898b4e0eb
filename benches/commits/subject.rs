// One commit's side of a case; included twice, with `lib` and `api` of either.

use super::{ALLOCATIONS, Case, MICROSECONDS, MILLISECONDS};
use crate::gpu::Gpu;
use lib::{
    Adagrad, Adam, AdamW, CpuOptimizer, DynRule, GradScaler, LAMB, LARS, Optimizer, RMSprop, SGD,
    wgpu,
};
use std::time::Instant;

fn rule(name: &str) -> Box<dyn DynRule> {
    match name {
        "adam" => Adam::default().into(),
        "adamw" => AdamW::default().into(),
        "adagrad" => Adagrad::default().into(),
        "rmsprop" => RMSprop::default().into(),
        "sgd" => SGD { momentum: 0.9, ..Default::default() }.into(),
        "lamb" => LAMB::default().into(),
        "lars" => LARS::default().into(),
        _ => panic!("no rule {name}"),
    }
}

/// The parameters of a case.
pub struct Shape {
    count: usize,
    len: usize,
}

impl Shape {
    fn of(text: &str) -> Self {
        let (count, len) = text.split_once('x').expect("COUNTxLENGTH");
        Self { count: count.parse().expect("a number"), len: len.parse().expect("a number") }
    }

    fn names(&self) -> Vec<(String, usize)> {
        (0..self.count).map(|index| (format!("p{index}"), self.len)).collect()
    }

    fn values(&self) -> Vec<f32> {
        (0..self.len).map(|index| (index as f32 * 0.37).sin()).collect()
    }
}

/// An optimizer and what is needed to take its steps.
pub struct Stepper {
    optimizer: Optimizer,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

fn built(gpu: &Gpu, rule_name: &str, shape: &Shape, how: &str) -> Optimizer {
    let builder = Optimizer::builder();
    let mut builder = match how {
        "separate" => builder.group(rule(rule_name), separate(gpu, shape, 0)),
        "offset" => builder.group(rule(rule_name), separate(gpu, shape, 4)),
        _ => builder.group(rule(rule_name), shape.names()),
    };
    match how {
        "clip" => builder = builder.clip_grad_norm(1.0).grad_scaler(GradScaler::default()),
        "statistics" => builder = builder.statistics(),
        _ => {}
    }
    builder.build(&gpu.device, &gpu.queue).expect("built")
}

/// A parameter's buffer, and its gradient's.
type Buffers = [wgpu::Buffer; 2];

fn buffers(gpu: &Gpu, shape: &Shape, start: u64) -> Vec<Buffers> {
    let array = |_| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * shape.len as u64 + start,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    (0..shape.count).map(|_| [0, 1].map(array)).collect()
}

/// Parameters in buffers of their own, from the byte `start` on.
fn separate(gpu: &Gpu, shape: &Shape, start: u64) -> Vec<lib::Param> {
    let param = |((name, len), [param, grad]): ((String, usize), Buffers)| {
        api::param(name, len, (&param, start), (&grad, start))
    };
    shape.names().into_iter().zip(buffers(gpu, shape, start)).map(param).collect()
}

impl Stepper {
    #[allow(unused_mut, reason = "up to 0.30 setting took no mutable reference")]
    fn new(gpu: &Gpu, rule_name: &str, shape: &Shape, how: &str) -> Self {
        let mut optimizer = built(gpu, rule_name, shape, how);
        let values = shape.values();
        for (name, _) in shape.names() {
            optimizer.set_param(name.as_str(), &values).expect("set");
            optimizer.set_grad(name.as_str(), &values).expect("set");
        }
        Self { optimizer, device: gpu.device.clone(), queue: gpu.queue.clone() }
    }

    /// A step that the device completes: milliseconds.
    fn step(&mut self) -> f64 {
        let start = Instant::now();
        self.submit(|_| {});
        start.elapsed().as_secs_f64() * 1e3
    }

    /// Microseconds to record a step.
    fn record(&mut self) -> f64 {
        let mut time = 0.0;
        let start = |seconds| time = seconds;
        self.submit(start);
        time * 1e6
    }

    /// Allocations in recording a step.
    fn allocations(&mut self) -> f64 {
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let counted =
            allocation_counter::measure(|| self.optimizer.step(&mut encoder).expect("recorded"));
        self.finish(encoder);
        // A ratio needs more than 0.
        1.0 + counted.count_total as f64
    }

    /// Records a step, tells how long that took, and waits for the device.
    fn submit(&mut self, recorded: impl FnOnce(f64)) {
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let start = Instant::now();
        self.optimizer.step(&mut encoder).expect("recorded");
        recorded(start.elapsed().as_secs_f64());
        self.finish(encoder);
    }

    fn finish(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
    }
}

/// Moves all gradients and records a step: microseconds.
fn moving(gpu: &Gpu, rule_name: &str, shape: &Shape, how: &str) -> Box<dyn FnMut() -> f64> {
    let mut stepper = Stepper::new(gpu, rule_name, shape, how);
    let places = [0, 1].map(|_| buffers(gpu, shape, 0));
    let mut moves = api::Moves::new(&stepper.optimizer, shape.len, places);
    Box::new(move || {
        let mut time = 0.0;
        let start = Instant::now();
        moves.next(&mut stepper.optimizer);
        let moved = start.elapsed().as_secs_f64();
        stepper.submit(|recorded| time = moved + recorded);
        time * 1e6
    })
}

/// A step of the CPU's optimizer: milliseconds.
fn on_cpu(rule_name: &str, shape: &Shape) -> Box<dyn FnMut() -> f64> {
    let builder = CpuOptimizer::<f32>::builder().group(rule(rule_name), shape.names());
    let mut optimizer = builder.build().expect("built");
    let values = shape.values();
    for (name, _) in shape.names() {
        optimizer.set_param(name.as_str(), &values).expect("set");
        optimizer.set_grad(name.as_str(), &values).expect("set");
    }
    Box::new(move || {
        let start = Instant::now();
        optimizer.step().expect("stepped");
        start.elapsed().as_secs_f64() * 1e3
    })
}

pub fn case(name: &str, gpu: &Gpu) -> Case {
    let words: Vec<_> = name.split(' ').map(str::to_owned).collect();
    let [measured, rule_name, shape, how] = words.try_into().expect("four words");
    let shape = Shape::of(&shape);
    let stepper = || Stepper::new(gpu, &rule_name, &shape, &how);
    let (run, unit): (Box<dyn FnMut() -> f64>, _) = match measured.as_str() {
        "step" => {
            let mut stepper = stepper();
            (Box::new(move || stepper.step()), MILLISECONDS)
        }
        "record" => {
            let mut stepper = stepper();
            (Box::new(move || stepper.record()), MICROSECONDS)
        }
        "allocations" => {
            let mut stepper = stepper();
            (Box::new(move || stepper.allocations()), ALLOCATIONS)
        }
        "move" => (moving(gpu, &rule_name, &shape, &how), MICROSECONDS),
        "build" => {
            let gpu = gpu.clone();
            let run = move || {
                let start = Instant::now();
                drop(built(&gpu, &rule_name, &shape, &how));
                start.elapsed().as_secs_f64() * 1e3
            };
            (Box::new(run), MILLISECONDS)
        }
        "cpu" => (on_cpu(&rule_name, &shape), MILLISECONDS),
        _ => panic!("nothing measures {measured}"),
    };
    Case { run, unit }
}
