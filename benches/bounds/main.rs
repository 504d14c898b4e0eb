//! How far a step of each rule is from the exact one, on the CPU in f32 and on the present adapter:
//!
//! ```sh
//! cargo bench --bench bounds              # prints the tables
//! cargo bench --bench bounds -- --write   # writes them into docs/bounds.md
//! ```

#[path = "../../tests/suite/common/mod.rs"]
#[allow(dead_code, reason = "what the tests share, of which this needs a part")]
mod common;

use common::cases::variants;
use common::exact::{Arrays, largest_errors};
use common::gpu::{self, Gpu};
use common::model::{Model, Placement};
use common::random::Random;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use wgpu_optim::{CpuOptimizer, DynRule};

const LEN: usize = 1 << 16;
const STEPS: u64 = 5;

/// Magnitudes of parameters and gradients, as powers of 10.
const MAGNITUDES: (f64, f64) = (-3.0, 3.0);

/// The largest errors of the parameters and of the states.
type Errors = [f64; 2];

/// What takes steps and tells all that they change.
trait Stepper {
    fn step(&mut self, grad: &[f32]);
    fn arrays(&self) -> Arrays;
}

impl Stepper for Model {
    fn step(&mut self, grad: &[f32]) {
        self.set_grads(&[grad.to_vec()]);
        Model::step(self);
    }
    fn arrays(&self) -> Arrays {
        Model::arrays(self).remove(0)
    }
}

impl Stepper for CpuOptimizer<f32> {
    fn step(&mut self, grad: &[f32]) {
        self.set_grad("p0", grad).expect("set");
        CpuOptimizer::step(self).expect("stepped");
    }
    fn arrays(&self) -> Arrays {
        let states = self.rule(0).expect("one group").states();
        let states = states.iter().map(|state| self.state("p0", state.name).expect("there"));
        let param = self.param("p0").expect("there");
        Arrays([param].into_iter().chain(states).map(|array| array.to_vec()).collect())
    }
}

fn on_cpu(rule: &dyn DynRule, start: &[f32]) -> CpuOptimizer<f32> {
    let builder = CpuOptimizer::<f32>::builder().group(rule.boxed(), [("p0", LEN)]);
    let mut optimizer = builder.build().expect("built");
    optimizer.set_param("p0", start).expect("set");
    optimizer
}

fn on_gpu(rule: &dyn DynRule, start: &[f32]) -> Model {
    let mut model =
        Model::new(Gpu::default(), rule.boxed(), &[LEN], Placement::Arena).expect("built");
    model.optimizer.set_param("p0", start).expect("set");
    model
}

/// Each step is judged from the state that it began with.
fn measure(rule: &dyn DynRule, mut stepper: impl Stepper, random: &mut Random) -> Errors {
    let mut worst = [0.0; 2];
    let mut before = stepper.arrays();
    for step in 1..=STEPS {
        let grad = random.wide_vec(LEN, MAGNITUDES.0, MAGNITUDES.1);
        stepper.step(&grad);
        let after = stepper.arrays();
        let found = largest_errors(rule, step, &before, &grad, &after);
        worst = [0, 1].map(|k: usize| f64::max(worst[k], found[k]));
        before = after;
    }
    worst
}

/// The largest errors of each rule, over all its options.
fn table<S: Stepper>(build: impl Fn(&dyn DynRule, &[f32]) -> S) -> BTreeMap<&'static str, Errors> {
    let mut rows = BTreeMap::new();
    for rule in variants() {
        let mut random = Random::new(1);
        let start = random.wide_vec(LEN, MAGNITUDES.0, MAGNITUDES.1);
        let found = measure(rule.as_ref(), build(rule.as_ref(), &start), &mut random);
        let row: &mut Errors = rows.entry(rule.name()).or_default();
        *row = [0, 1].map(|k: usize| f64::max(row[k], found[k]));
    }
    rows
}

/// A section of `docs/bounds.md`, from its heading on.
fn section(title: &str, rows: &BTreeMap<&str, Errors>) -> String {
    let mut text = format!("## {title}\n\n| rule | parameter | states |\n|---|--:|--:|\n");
    for (rule, [param, states]) in rows {
        let _ = writeln!(text, "| `{rule}` | {param:.1} | {states:.1} |");
    }
    text
}

/// Puts a section in the place of the one with its heading, or at the end.
fn replaced(page: &str, section: &str) -> String {
    let heading = section.lines().next().unwrap_or_default();
    let mut parts: Vec<String> =
        page.split("\n## ").map(|part| part.trim_end().to_owned()).collect();
    let new = section.trim_end().trim_start_matches("## ").to_owned();
    let old = parts.iter().position(|part| part.lines().next() == heading.strip_prefix("## "));
    match old {
        Some(index) => parts[index] = new,
        None => parts.push(new),
    }
    parts.join("\n\n## ") + "\n"
}

fn main() {
    let info = gpu::adapter().get_info();
    let adapter = format!("{}, {} {}, {}", info.name, info.driver, info.driver_info, info.backend);
    let sections = [section("The CPU, in f32", &table(on_cpu)), section(&adapter, &table(on_gpu))];
    sections.iter().for_each(|section| println!("{section}"));
    if std::env::args().any(|argument| argument == "--write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bounds.md");
        let page = std::fs::read_to_string(&path).expect("docs/bounds.md");
        let page = sections.iter().fold(page, |page, section| replaced(&page, section));
        std::fs::write(&path, page).expect("written");
    }
}
