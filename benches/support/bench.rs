//! One run of a bench: its device, its time budget, and its results.

use super::gpu::Gpu;
use super::record::Record;
use criterion::Criterion;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub struct Bench {
    pub gpu: Gpu,
    pub record: Record,
    pub criterion: Criterion,
    /// A run under `cargo test`: everything runs once with small sizes, to show that it works.
    pub quick: bool,
    /// Only parts whose names contain this are run.
    filter: Option<String>,
    start: Instant,
    /// How long the whole run may take.
    budget: Duration,
    skipped: Vec<String>,
    failed: Vec<String>,
    /// The record's file, once it was written.
    path: Option<PathBuf>,
}

/// Criterion's samples of a series.
pub const SAMPLES: usize = 10;

impl Bench {
    /// Configured by the command line (criterion's) and `BENCH_SECONDS`.
    pub fn open() -> Self {
        let gpu = Gpu::open();
        let criterion = Criterion::default()
            .sample_size(SAMPLES)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(800))
            .without_plots()
            .configure_from_args();
        let seconds = number("BENCH_SECONDS").unwrap_or(f64::MAX);
        Self {
            record: Record::new(&gpu),
            criterion,
            quick: !std::env::args().any(|argument| argument == "--bench"),
            filter: std::env::args().skip(1).find(|argument| !argument.starts_with('-')),
            start: Instant::now(),
            budget: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            skipped: Vec::new(),
            failed: Vec::new(),
            path: None,
            gpu,
        }
    }

    /// Runs a part, unless the filter excludes it or this share of the budget is spent.
    pub fn part(&mut self, name: &str, share: f64, run: impl FnOnce(&mut Self)) {
        if self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            self.guarded(name, share, run);
        }
    }

    /// The same for parts that consist of series, which criterion filters.
    ///
    /// A failed part is noted in the record and does not stop the others, since time on a GPU is
    /// expensive.
    pub fn guarded(&mut self, name: &str, share: f64, run: impl FnOnce(&mut Self)) {
        if !self.has_time(name, share) {
            return;
        }
        eprintln!("{:6.0} s  {name}", self.start.elapsed().as_secs_f64());
        if catch_unwind(AssertUnwindSafe(|| run(self))).is_err() {
            self.failed.push(name.into());
        }
        self.save();
    }

    /// Whether less than this share of the budget is spent; if not, the record notes what was
    /// skipped.
    pub fn has_time(&mut self, name: &str, share: f64) -> bool {
        let until = self.budget.as_secs_f64() * share;
        let has = self.start.elapsed().as_secs_f64() < until;
        if !has {
            self.skipped.push(name.into());
        }
        has
    }

    /// Whether this many bytes fit the device; if not, the record notes what was skipped.
    pub fn fits(&mut self, name: &str, bytes: u64) -> bool {
        let fits = self.gpu.fits(bytes);
        if !fits {
            self.skipped.push(format!("{name}: {bytes} bytes do not fit"));
        }
        fits
    }

    /// Merges the lines of other libraries from the files that `BENCH_PEERS` lists, separated by
    /// commas.
    pub fn merge_peers(&mut self) {
        let files = std::env::var("BENCH_PEERS").unwrap_or_default();
        files.split(',').filter(|f| !f.is_empty()).for_each(|f| self.record.merge(f.as_ref()));
    }

    /// Writes the results so far into the folder that `BENCH_RECORD` names, if it is set.
    fn save(&mut self) {
        let Ok(folder) = std::env::var("BENCH_RECORD") else { return };
        let seconds = super::record::rounded(self.start.elapsed().as_secs_f64());
        self.record.set("seconds", json!(seconds));
        self.record.set("left_out", json!(self.skipped));
        self.record.set("failed", json!(self.failed));
        let path = match self.path.take() {
            Some(path) => path,
            None => self.record.path(folder.as_ref()).expect("the record's folder can be created"),
        };
        self.record.write(&path).expect("the record can be written");
        self.path = Some(path);
    }

    /// Saves the record, and prints what is not in it.
    pub fn finish(mut self) -> ExitCode {
        self.save();
        for (what, names) in [("Skipped", &self.skipped), ("Failed", &self.failed)] {
            if !names.is_empty() {
                println!("\n{what}: {}", names.join("; "));
            }
        }
        if let Some(path) = &self.path {
            println!("\nRecord: {}", path.display());
        }
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A number from an environment variable.
pub fn number(variable: &str) -> Option<f64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text}")))
}
