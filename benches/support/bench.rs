//! One run of a bench: what it has, what it may spend, and what it found.

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
    /// Everything once and small: a run under `cargo test`, which only shows that all works.
    pub quick: bool,
    /// Of the parts, only those whose names hold this.
    filter: Option<String>,
    start: Instant,
    /// How long the run may take in all.
    budget: Duration,
    skipped: Vec<String>,
    failed: Vec<String>,
    /// The record's file, once there is one.
    path: Option<PathBuf>,
}

/// Samples that criterion takes of a series.
pub const SAMPLES: usize = 10;

impl Bench {
    /// By the command line (criterion's) and `BENCH_SECONDS`.
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

    /// Runs a part unless the filter leaves it out or its `share` of the budget is spent.
    pub fn part(&mut self, name: &str, share: f64, run: impl FnOnce(&mut Self)) {
        if self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            self.guarded(name, share, run);
        }
    }

    /// The same for parts of series, for which criterion has the filter.
    ///
    /// A part that fails is told in the record and does not stop the others: a GPU's time is dear.
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

    /// Whether so much of the budget is left unspent; if not, the record says what was left out.
    pub fn has_time(&mut self, name: &str, share: f64) -> bool {
        let until = self.budget.as_secs_f64() * share;
        let has = self.start.elapsed().as_secs_f64() < until;
        if !has {
            self.skipped.push(name.into());
        }
        has
    }

    /// Whether so many bytes fit the device; if not, the record says what was left out.
    pub fn fits(&mut self, name: &str, bytes: u64) -> bool {
        let fits = self.gpu.fits(bytes);
        if !fits {
            self.skipped.push(format!("{name}: {bytes} bytes do not fit"));
        }
        fits
    }

    /// Merges peers' lines from the files that `BENCH_PEERS` names, separated by commas.
    pub fn merge_peers(&mut self) {
        let files = std::env::var("BENCH_PEERS").unwrap_or_default();
        files.split(',').filter(|f| !f.is_empty()).for_each(|f| self.record.merge(f.as_ref()));
    }

    /// Writes what was found so far into the folder that `BENCH_RECORD` names, if it does.
    fn save(&mut self) {
        let Ok(folder) = std::env::var("BENCH_RECORD") else { return };
        let seconds = super::record::rounded(self.start.elapsed().as_secs_f64());
        self.record.set("seconds", json!(seconds));
        self.record.set("left_out", json!(self.skipped));
        self.record.set("failed", json!(self.failed));
        let path = match self.path.take() {
            Some(path) => path,
            None => self.record.path(folder.as_ref()).expect("a folder for the record"),
        };
        self.record.write(&path).expect("a place for the record");
        self.path = Some(path);
    }

    /// Saves the record, and says what is not in it.
    pub fn finish(mut self) -> ExitCode {
        self.save();
        for (what, names) in [("Left out", &self.skipped), ("Failed", &self.failed)] {
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

/// A number in the environment.
pub fn number(variable: &str) -> Option<f64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: a number, not {text}")))
}
