//! Saving and loading a file beside writing and reading as many bytes, in turns; and the most
//! memory that saving takes beyond the model's.

use super::support::bench::Bench;
use super::support::shapes::Shape;
use super::support::stats::median;
use super::support::values::{self, PARAMETERS};
use super::support::workload::{Placement, built, rule};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use wgpu_optim::CpuOptimizer;
use wgpu_optim::optimizer::{self, Engine};

/// Elements of the model: Adam's arrays take 12 bytes of each.
const LEN: usize = 1 << 24;

const ROUNDS: usize = 7;

/// Bytes that are read and written at once, as the saver does it.
const PIECE: usize = 16 << 20;

/// A file that is gone at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("wgpu-optim-bench-{}-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Adam's run of one tensor and of a thousand, on the GPU and on the CPU.
pub fn checkpoints(bench: &mut Bench) {
    let quick = bench.quick;
    let shapes = match quick {
        true => vec![Shape::many(2, 4096)],
        false => vec![Shape::one(LEN), Shape::many(1000, LEN / 1000)],
    };
    for shape in shapes {
        if !bench.fits("checkpoints", 32 * shape.elements() as u64) {
            continue;
        }
        let adam = rule("adam");
        let mut on_gpu = built(&bench.gpu, &shape, adam.as_ref(), Placement::Arena);
        fill(&mut on_gpu, &shape);
        in_turns(bench, &shape, "GPU", &mut on_gpu);
        drop(on_gpu);
        let params = shape.tensors.iter().enumerate().map(|(i, &len)| (i.to_string(), len));
        let builder = CpuOptimizer::<f32>::builder().group(adam.boxed(), params);
        let mut on_cpu = builder.build().expect("valid");
        fill(&mut on_cpu, &shape);
        in_turns(bench, &shape, "CPU", &mut on_cpu);
    }
}

fn fill<E: Engine<Element = f32>>(optimizer: &mut optimizer::Optimizer<E>, shape: &Shape) {
    for (index, &len) in shape.tensors.iter().enumerate() {
        let numbers = values::tensor(PARAMETERS, len);
        let name = index.to_string();
        optimizer.set_param(&*name, &numbers).expect("known");
        optimizer.set_state(&*name, "exp_avg", &numbers).expect("known");
    }
}

fn in_turns<E: Engine>(
    bench: &mut Bench,
    shape: &Shape,
    engine: &str,
    optimizer: &mut optimizer::Optimizer<E>,
) {
    let [saved, plain] = ["saved", "plain"].map(Temporary::new);
    save_to(optimizer, &saved.0);
    let bytes = std::fs::read(&saved.0).expect("readable");
    let [mut save, mut write, mut load, mut once, mut read] = [const { Vec::new() }; 5];
    for _ in 0..if bench.quick { 1 } else { ROUNDS } {
        write.push(timed(|| write_plain(&plain.0, &bytes)));
        save.push(timed(|| save_to(optimizer, &saved.0)));
        read.push(timed(|| read_plain(&plain.0)));
        load.push(timed(|| drop(optimizer.load().file(&saved.0).expect("loaded"))));
        let load_once = optimizer.load().skip_checksum();
        once.push(timed(|| drop(load_once.file(&saved.0).expect("loaded"))));
    }
    let [mut cold_read, mut cold_load] = [const { Vec::new() }; 2];
    while cold_load.len() < ROUNDS && !bench.quick && forget_files() {
        cold_read.push(timed(|| read_plain(&plain.0)));
        forget_files();
        cold_load.push(timed(|| drop(optimizer.load().file(&saved.0).expect("loaded"))));
    }
    let mut number = |measure: String, value, unit| {
        bench.record.number(&measure, &shape.name, value, unit);
    };
    let ratio = |plain: &[f64], ours: &[f64]| median(plain) / median(ours);
    number(format!("{engine}: save a checkpoint"), median(&save) * 1e3, "ms");
    number(format!("{engine}: save, of a plain write's speed"), ratio(&write, &save), "");
    number(format!("{engine}: load a checkpoint"), median(&load) * 1e3, "ms");
    number(format!("{engine}: load, of a plain read's speed"), ratio(&read, &load), "");
    let measure = format!("{engine}: load without checksum, of a plain read's speed");
    number(measure, ratio(&read, &once), "");
    if !cold_load.is_empty() {
        let measure = format!("{engine}: load from the disk, of a plain read's speed");
        number(measure, ratio(&cold_read, &cold_load), "");
    }
    drop(bytes);
    // Not of the first save, which finds pages of the model that nothing had touched.
    if let Some(most) = most_memory(|| save_to(optimizer, &saved.0)) {
        number(format!("{engine}: memory of a save"), most / f64::from(1 << 20), "MiB");
    }
}

fn save_to<E: Engine>(optimizer: &mut optimizer::Optimizer<E>, path: &Path) {
    optimizer.save().file(path).expect("saved");
}

/// Has the system forget what it keeps of files in memory, where the process may: a run is resumed
/// from the disk.
fn forget_files() -> bool {
    std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// Writes as a careful program does: all is on the disk at the end.
fn write_plain(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).expect("created");
    bytes.chunks(PIECE).for_each(|piece| file.write_all(piece).expect("written"));
    file.sync_all().expect("synced");
}

fn read_plain(path: &Path) {
    let (mut file, mut piece) = (File::open(path).expect("there"), vec![0; PIECE]);
    while file.read(&mut piece).expect("read") > 0 {}
}

/// How much more memory the process had at most while something ran than before, where Linux tells.
fn most_memory(run: impl FnOnce()) -> Option<f64> {
    let of = |key: &str| {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
    };
    // Forgets the most that there was so far.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = of("VmRSS:")?;
    run();
    Some(of("VmHWM:")? - before)
}
