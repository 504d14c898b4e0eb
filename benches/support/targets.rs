//! The targets, each a line: what is wanted, what was found.

use super::bench::Bench;
use super::report::{label, text};
use serde_json::{Value, json};

/// What is wanted of a number.
#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}
use Wanted::{AtLeast, AtMost};

struct Target {
    name: String,
    wanted: Wanted,
    /// None if the run did not measure it.
    found: Option<f64>,
}

/// Where targets hold.
#[derive(Clone, Copy, PartialEq)]
enum Device {
    Gpu,
    Software,
}

/// Prints every target that holds on this device, and records them.
pub fn print(bench: &mut Bench) {
    let device = if bench.gpu.is_software() { Device::Software } else { Device::Gpu };
    let found = Found { lines: &bench.record.lines };
    let mut targets = match device {
        Device::Gpu => [of_copy(&found), torch_on_gpu(&found), control(&found)].concat(),
        Device::Software => [by_hand(&found), burn(&found)].concat(),
    };
    targets.extend([many_tensors(&found), host(&found), cpu(&found), growth(&found)].concat());
    println!("\n{:<74} {:>9} {:>9}  ", "targets", "wanted", "found");
    for target in &targets {
        println!("{}", target.line());
    }
    if device == Device::Software {
        println!("The device is the CPU itself: targets of GPUs wait for one.");
    }
    bench.record.set("targets", targets.iter().map(Target::json).collect());
}

impl Target {
    fn new(name: impl Into<String>, wanted: Wanted, found: Option<f64>) -> Self {
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

/// Looks things up in the lines of a record.
struct Found<'a> {
    lines: &'a [Value],
}

impl Found<'_> {
    /// How many times as many bytes a second one moved as another, in turns: from its line, or from the
    /// other's.
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

    fn of_shape(&self, measure: &str, shape: &str) -> Option<f64> {
        let mut lines = self.lines.iter();
        let line =
            lines.find(|line| text(line, "measure") == measure && text(line, "shape") == shape);
        line?["value"].as_f64()
    }

    /// The largest of the numbers of a measure, whatever the shape.
    fn number(&self, measure: &str) -> Option<f64> {
        let lines = self.lines.iter().filter(|line| text(line, "measure") == measure);
        lines.filter_map(|line| line["value"].as_f64()).reduce(f64::max)
    }
}

/// Whether a label's first words are these: `burn adam fusion` begins with `burn adam`, and
/// `burn adamw` does not.
fn begins(label: &str, words: &str) -> bool {
    let label = label.to_lowercase();
    label.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
}

const MAIN_RULES: [&str; 4] = ["adam", "rmsprop", "adagrad", "sgd"];
const DEVICE: &str = "device clock";
const WALL: &str = "wall clock";

fn of_copy(found: &Found<'_>) -> Vec<Target> {
    let target = |(shape, rule): (&str, &str)| {
        let ratio = found.ratio(&format!("wgpu-optim {rule} arena"), "copy", shape, DEVICE);
        Target::new(format!("{rule}, {shape}: of the copy's bandwidth"), AtLeast(0.95), ratio)
    };
    let cases =
        ["1x16M", "1x256M"].into_iter().flat_map(|shape| MAIN_RULES.map(|rule| (shape, rule)));
    cases.map(target).collect()
}

fn torch_on_gpu(found: &Found<'_>) -> Vec<Target> {
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
        Target::new(name, AtLeast(least), found.ratio(&own, &other, shape, clock))
    };
    cases.map(target).to_vec()
}

fn by_hand(found: &Found<'_>) -> Vec<Target> {
    let ratio = found.ratio("wgpu-optim adam arena", "handwritten adam", "1x16M", DEVICE);
    vec![Target::new("adam, 1x16M: of the speed of a kernel by hand", AtLeast(0.9), ratio)]
}

fn burn(found: &Found<'_>) -> Vec<Target> {
    let cases = ["adam", "rmsprop", "adagrad"].into_iter();
    let cases = cases.flat_map(|rule| [(rule, "1x16M", 1.1), (rule, "1000x4096", 3.0)]);
    let target = |(rule, shape, least): (&str, &str, f64)| {
        let (own, other) = (format!("wgpu-optim {rule}"), format!("burn {rule}"));
        let name = format!("{rule}, {shape}: of the speed of Burn with fusion");
        Target::new(name, AtLeast(least), found.ratio(&own, &other, shape, ""))
    };
    cases.map(target).collect()
}

fn many_tensors(found: &Found<'_>) -> Vec<Target> {
    let (own, one) = ("wgpu-optim adam arena", "wgpu-optim adam arena 1x4000k");
    let target = |clock| {
        let time = found.ratio(own, one, "1000x4096", clock).map(|speed| 1.0 / speed);
        Target::new(format!("adam, 1000x4096, {clock}: time of one tensor"), AtMost(1.2), time)
    };
    [DEVICE, WALL].map(target).to_vec()
}

/// What a step may take longer where it reads gradients once more: 32 of 28 bytes, and two small dispatches. Where
/// memory is the limit, that is: a driver that computes on the CPU is not so fast.
const ONE_MORE_READ: f64 = 1.2;

fn control(found: &Found<'_>) -> Vec<Target> {
    let (plain, decided) = ("wgpu-optim adam plain", "wgpu-optim adam clip, unscale, skip");
    let target = |shape| {
        let time = found.ratio(decided, plain, shape, DEVICE).map(|speed| 1.0 / speed);
        let name = format!("adam, {shape}, clip, unscale and skip: time of a plain step");
        Target::new(name, AtMost(ONE_MORE_READ), time)
    };
    ["1x16M", "1000x4096"].map(target).to_vec()
}

fn host(found: &Found<'_>) -> Vec<Target> {
    let allocations = |placement: &str, shape: &str| {
        let count =
            |how: &str| found.of_shape(&format!("allocations in recording a step, {how}"), shape);
        let own = count(placement).zip(count("by hand, the same calls"));
        let name = format!("{placement}: allocations a step, beyond wgpu's own");
        Target::new(name, AtMost(0.0), own.map(|(ours, wgpus)| ours - wgpus))
    };
    let number =
        |name: &str, wanted, measure: &str| Target::new(name, wanted, found.number(measure));
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

fn cpu(found: &Found<'_>) -> Vec<Target> {
    let cases = [(2, 1.0), (1, 0.5)];
    let target = |(threads, least): (usize, f64)| {
        let (own, other) =
            (format!("wgpu-optim adamw cpu {threads}"), format!("torch adamw fused cpu {threads}"));
        let ratio = found.ratio(&own, &other, "1x16M", "");
        let name = format!("adamw, 1x16M, CPU, threads: {threads}: of PyTorch's fused speed");
        Target::new(name, AtLeast(least), ratio)
    };
    cases.map(target).to_vec()
}

fn growth(found: &Found<'_>) -> Vec<Target> {
    let one = "wgpu-optim adam in one window";
    let boundary = |kind: &str| {
        let ratio = found.ratio(&format!("wgpu-optim adam in {kind}"), one, "1x15M", DEVICE);
        let time = ratio.map(|speed| 1.0 / speed);
        Target::new(format!("adam, 1x15M, in {kind}: time of one window"), AtMost(1.02), time)
    };
    let own = "wgpu-optim adam arena";
    let largest = ["1x1G", "1x256M", "1x64M"].into_iter().find_map(|shape| {
        let speed = found.ratio(own, "wgpu-optim adam arena 1x16m", shape, DEVICE)?;
        Some(Target::new(
            format!("adam, {shape}: time a parameter, as a multiple of 1x16M's"),
            AtMost(1.02),
            Some(1.0 / speed),
        ))
    });
    [boundary("windows"), boundary("buffers")].into_iter().chain(largest).collect()
}
