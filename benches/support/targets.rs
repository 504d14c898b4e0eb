//! The performance targets, each with the wanted number and the one that was found.

use super::bench::Bench;
use super::report::{label, text};
use serde_json::{Value, json};

/// The bound of a target.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}
use Bound::{AtLeast, AtMost};

struct Target {
    name: String,
    wanted: Bound,
    /// `None` if the run did not measure it.
    found: Option<f64>,
}

/// The devices that targets are for.
#[derive(Clone, Copy, PartialEq)]
enum Device {
    Gpu,
    Software,
}

/// Prints the targets for this device, and records them.
pub fn print(bench: &mut Bench) {
    let device = if bench.gpu.is_software() { Device::Software } else { Device::Gpu };
    let results = Results { lines: &bench.record.lines };
    let mut targets = match device {
        Device::Gpu => {
            let all = [of_copy, torch_on_gpu, control, formats_of_copy];
            all.map(|targets| targets(&results)).concat()
        }
        Device::Software => [by_hand, burn, formats].map(|targets| targets(&results)).concat(),
    };
    let everywhere =
        [many_tensors, host, checkpoints, cpu, growth].map(|targets| targets(&results));
    targets.extend(everywhere.concat());
    println!("\n{:<74} {:>9} {:>9}  ", "targets", "wanted", "found");
    for target in &targets {
        println!("{}", target.line());
    }
    if device == Device::Software {
        println!("The driver computes on the CPU, so targets for GPUs were not measured.");
    }
    bench.record.set("targets", targets.iter().map(Target::json).collect());
}

impl Target {
    fn new(name: impl Into<String>, wanted: Bound, found: Option<f64>) -> Self {
        Self { name: name.into(), wanted, found }
    }

    fn met(&self) -> Option<bool> {
        let found = self.found?;
        Some(match self.wanted {
            AtLeast(least) => found >= least,
            AtMost(most) => found <= most,
        })
    }

    fn wanted(&self) -> String {
        match self.wanted {
            AtLeast(least) => format!("≥ {least}"),
            AtMost(most) => format!("≤ {most}"),
        }
    }

    fn line(&self) -> String {
        let verdict = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let found = self.found.map_or("-".into(), |found| format!("{found:.3}"));
        format!("{:<74} {:>9} {:>9}  {verdict}", self.name, self.wanted(), found)
    }

    fn json(&self) -> Value {
        json!({
            "target": self.name, "wanted": self.wanted(), "found": self.found, "met": self.met(),
        })
    }
}

impl Clone for Target {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), ..*self }
    }
}

/// The lines of a record, to look up results.
struct Results<'a> {
    lines: &'a [Value],
}

impl Results<'_> {
    /// The ratio of the bandwidths of two contestants, from the line of either.
    fn ratio(&self, own: &str, other: &str, shape: &str, clock: &str) -> Option<f64> {
        self.one_way(own, other, shape, clock)
            .or_else(|| self.one_way(other, own, shape, clock).map(|ratio| 1.0 / ratio))
    }

    fn one_way(&self, own: &str, other: &str, shape: &str, clock: &str) -> Option<f64> {
        let mut lines = self.lines.iter().filter(|line| {
            begins(&label(line), own)
                && text(line, "shape") == shape
                && text(line, "series").starts_with(clock)
        });
        lines.find_map(|line| {
            let mut ratios = line["ratios"].as_object()?.iter();
            let (_, ratio) = ratios.find(|(label, _)| begins(label, other))?;
            ratio[0].as_f64().or(ratio.as_f64())
        })
    }

    /// The time of a contestant, as a multiple of another's that moves other numbers of bytes.
    fn time(&self, own: &str, other: &str, shape: &str, clock: &str) -> Option<f64> {
        let bytes = |name: &str| {
            let named =
                |line: &&Value| label(line).to_lowercase() == name && text(line, "shape") == shape;
            self.lines.iter().find(named)?["bytes"].as_f64()
        };
        Some(bytes(own)? / bytes(other)? / self.ratio(own, other, shape, clock)?)
    }

    fn of_shape(&self, measure: &str, shape: &str) -> Option<f64> {
        let mut lines = self.lines.iter();
        let line =
            lines.find(|line| text(line, "measure") == measure && text(line, "shape") == shape);
        line?["value"].as_f64()
    }

    /// The largest number of a measure over all shapes.
    fn number(&self, measure: &str) -> Option<f64> {
        let lines = self.lines.iter().filter(|line| text(line, "measure") == measure);
        lines.filter_map(|line| line["value"].as_f64()).reduce(f64::max)
    }
}

/// Whether a label begins with these words: `burn adam fusion` begins with `burn adam`, but
/// `burn adamw` does not.
fn begins(label: &str, words: &str) -> bool {
    let label = label.to_lowercase();
    label.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
}

const MAIN_RULES: [&str; 4] = ["adam", "rmsprop", "adagrad", "sgd"];
const DEVICE: &str = "device clock";
const WALL: &str = "wall clock";

fn of_copy(results: &Results<'_>) -> Vec<Target> {
    let target = |(shape, rule): (&str, &str)| {
        let ratio = results.ratio(&format!("wgpu-optim {rule} arena"), "copy", shape, DEVICE);
        Target::new(format!("{rule}, {shape}: of the copy's bandwidth"), AtLeast(0.95), ratio)
    };
    let cases =
        ["1x16M", "1x256M"].into_iter().flat_map(|shape| MAIN_RULES.map(|rule| (shape, rule)));
    cases.map(target).collect()
}

fn torch_on_gpu(results: &Results<'_>) -> Vec<Target> {
    let cases = [
        ("adamw", "fused", "1x16M", DEVICE, 1.0),
        ("adamw", "fused", "1x256M", DEVICE, 1.0),
        ("rmsprop", "foreach", "1x16M", DEVICE, 2.0),
        ("rmsprop", "foreach", "1x256M", DEVICE, 2.0),
        ("adagrad", "foreach", "1x16M", DEVICE, 2.0),
        ("adagrad", "foreach", "1x256M", DEVICE, 2.0),
        ("adamw", "fused", "1000x4096", WALL, 2.0),
    ];
    let target = |(rule, implementation, shape, clock, least)| {
        let (own, other) = (format!("wgpu-optim {rule}"), format!("torch {rule} {implementation}"));
        let name = format!("{rule}, {shape}, {clock}: of PyTorch's {implementation} speed");
        Target::new(name, AtLeast(least), results.ratio(&own, &other, shape, clock))
    };
    cases.map(target).to_vec()
}

fn by_hand(results: &Results<'_>) -> Vec<Target> {
    let ratio = results.ratio("wgpu-optim adam arena", "handwritten adam", "1x16M", DEVICE);
    vec![Target::new("adam, 1x16M: of the speed of a kernel by hand", AtLeast(0.9), ratio)]
}

fn burn(results: &Results<'_>) -> Vec<Target> {
    let cases = ["adam", "rmsprop", "adagrad"].into_iter();
    let cases = cases.flat_map(|rule| [(rule, "1x16M", 1.1), (rule, "1000x4096", 3.0)]);
    let target = |(rule, shape, least): (&str, &str, f64)| {
        let (own, other) = (format!("wgpu-optim {rule}"), format!("burn {rule}"));
        let name = format!("{rule}, {shape}: of the speed of Burn with fusion");
        Target::new(name, AtLeast(least), results.ratio(&own, &other, shape, ""))
    };
    cases.map(target).collect()
}

fn many_tensors(results: &Results<'_>) -> Vec<Target> {
    let (own, one) = ("wgpu-optim adam arena", "wgpu-optim adam arena 1x4000k");
    let target = |clock| {
        let time = results.ratio(own, one, "1000x4096", clock).map(|speed| 1.0 / speed);
        Target::new(format!("adam, 1000x4096, {clock}: time of one tensor"), AtMost(1.2), time)
    };
    [DEVICE, WALL].map(target).to_vec()
}

/// The time of a step that reads gradients twice, as a multiple of a plain step's: it moves 32
/// instead of 28 bytes and has two more small dispatches. This is for devices that are limited by
/// memory bandwidth; drivers that compute on the CPU are not.
const ONE_MORE_READ: f64 = 1.2;

fn control(results: &Results<'_>) -> Vec<Target> {
    let (plain, decided) = ("wgpu-optim adam plain", "wgpu-optim adam clip, unscale, skip");
    let target = |shape| {
        let time = results.ratio(decided, plain, shape, DEVICE).map(|speed| 1.0 / speed);
        let name = format!("adam, {shape}, clip, unscale and skip: time of a plain step");
        Target::new(name, AtMost(ONE_MORE_READ), time)
    };
    ["1x16M", "1000x4096"].map(target).to_vec()
}

/// The formats of the bench `step`, and the most time of f32's on a driver that computes on the
/// CPU.
pub const FORMATS: [(&str, f64); 6] = [
    ("bf16 remainder", 1.5),
    ("bf16 stochastic", 1.5),
    ("f16 master", 1.5),
    ("bf16 all", 1.5),
    ("f32, 8-bit states", 3.0),
    ("bf16 remainder, 8-bit states", 3.0),
];

const FORMATS_SHAPE: &str = "1x4M";

fn formats(results: &Results<'_>) -> Vec<Target> {
    let target = |(format, most): (&str, f64)| {
        let [own, f32] = [format, "f32"].map(|format| format!("wgpu-optim adamw {format}"));
        let time = results.time(&own, &f32, FORMATS_SHAPE, DEVICE);
        Target::new(format!("adamw, {FORMATS_SHAPE}, {format}: time of f32"), AtMost(most), time)
    };
    FORMATS.map(target).to_vec()
}

fn formats_of_copy(results: &Results<'_>) -> Vec<Target> {
    let target = |(format, _): (&str, f64)| {
        let own = format!("wgpu-optim adamw {format}");
        let ratio = results.ratio(&own, "copy", FORMATS_SHAPE, DEVICE);
        let name = format!("adamw, {FORMATS_SHAPE}, {format}: of the copy's bandwidth");
        Target::new(name, AtLeast(0.9), ratio)
    };
    FORMATS.map(target).to_vec()
}

fn checkpoints(results: &Results<'_>) -> Vec<Target> {
    let of = |measure: &str, wanted, name: &str| {
        let measured = |engine: &str| {
            let measure = format!("{engine}: {measure}");
            let found = results.of_shape(&measure, "1x16M");
            Target::new(format!("adam, 1x16M, {engine}: {name}"), wanted, found)
        };
        ["GPU", "CPU"].map(measured).to_vec()
    };
    let speed = AtLeast(0.7);
    [
        of("save, of a plain write's speed", speed, "save, of a plain write's speed"),
        of(
            "load from the disk, of a plain read's speed",
            speed,
            "load from the disk, of a plain read's speed",
        ),
        of("memory of a save", AtMost(64.0), "MiB of memory beyond the model, to save"),
    ]
    .concat()
}

fn host(results: &Results<'_>) -> Vec<Target> {
    let allocations = |placement: &str, shape: &str| {
        let count =
            |how: &str| results.of_shape(&format!("allocations in recording a step, {how}"), shape);
        let own = count(placement).zip(count("by hand, the same calls"));
        let name = format!("{placement}: allocations a step, beyond wgpu's own");
        Target::new(name, AtMost(0.0), own.map(|(ours, wgpus)| ours - wgpus))
    };
    let number =
        |name: &str, wanted, measure: &str| Target::new(name, wanted, results.number(measure));
    vec![
        number(
            "arena, up to 10000 tensors: µs to record a step",
            AtMost(30.0),
            "record a step, arena",
        ),
        number(
            "separate buffers: µs to record a dispatch",
            AtMost(2.0),
            "record a step, a dispatch, separate buffers",
        ),
        allocations("arena", "1x256"),
        allocations("separate buffers", "1000x256"),
    ]
}

fn cpu(results: &Results<'_>) -> Vec<Target> {
    let cases = [("", 2, 1.0), ("", 1, 0.5), ("bf16 ", 2, 1.0), ("bf16 ", 1, 0.5)];
    let target = |(format, threads, least): (&str, usize, f64)| {
        let own = format!("wgpu-optim adamw {format}cpu {threads}");
        let other = format!("torch adamw fused {format}cpu {threads}");
        let ratio = results.ratio(&own, &other, "1x16M", "");
        let name =
            format!("adamw, 1x16M, {format}CPU, threads: {threads}: of PyTorch's fused speed");
        Target::new(name, AtLeast(least), ratio)
    };
    cases.map(target).to_vec()
}

fn growth(results: &Results<'_>) -> Vec<Target> {
    let one = "wgpu-optim adam in one window";
    let boundary = |kind: &str| {
        let ratio = results.ratio(&format!("wgpu-optim adam in {kind}"), one, "1x15M", DEVICE);
        let time = ratio.map(|speed| 1.0 / speed);
        Target::new(format!("adam, 1x15M, in {kind}: time of one window"), AtMost(1.02), time)
    };
    let own = "wgpu-optim adam arena";
    let largest = ["1x1G", "1x256M", "1x64M"].into_iter().find_map(|shape| {
        let speed = results.ratio(own, "wgpu-optim adam arena 1x16m", shape, DEVICE)?;
        Some(Target::new(
            format!("adam, {shape}: time a parameter, as a multiple of 1x16M's"),
            AtMost(1.02),
            Some(1.0 / speed),
        ))
    });
    [boundary("windows"), boundary("buffers")].into_iter().chain(largest).collect()
}
