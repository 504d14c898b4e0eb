//! Long runs of random tests: `FUZZ_SECONDS=60 cargo test --test suite -- plans:: machine::` tries
//! new cases for so long in each of them, or the same ones each time if `FUZZ_SEED` is a number.
//! What fails is kept in tests/regressions, and is tried first from then on: commit it with what
//! mends it.

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed, TestCaseResult, TestRunner};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long to try, if that is asked for.
fn time() -> Option<Duration> {
    number("FUZZ_SECONDS").map(Duration::from_secs)
}

/// Where to start. A long run starts where none did, unless it is told.
fn first_seed() -> u64 {
    let clock = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
        time().map(|_| now.as_micros() as u64)
    };
    number("FUZZ_SEED").or_else(clock).unwrap_or(0)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is not a whole number")))
}

/// Tries so many cases, or more and more of them for as long as is asked. Failures are kept in
/// `file`.
pub fn search<S: Strategy>(
    file: &'static str,
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> TestCaseResult,
) {
    let persistence = FileFailurePersistence::Direct(file);
    let mut config = ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(persistence)),
        ..Default::default()
    };
    let (start, time) = (Instant::now(), time().unwrap_or_default());
    let mut tried = 0;
    for seed in first_seed().. {
        config.rng_seed = RngSeed::Fixed(seed);
        let found = TestRunner::new(config.clone()).run(strategy, &test);
        found.unwrap_or_else(|failure| panic!("{failure}"));
        tried += cases;
        if start.elapsed() >= time {
            println!("{tried} cases");
            return;
        }
    }
}

/// The seeds that are kept in `file`, then so many, or, for as long as is asked, new ones.
pub fn seeds(file: &str, count: u64) -> impl Iterator<Item = u64> {
    let text = std::fs::read_to_string(file).expect("there is a file");
    let kept = text.lines().filter(|line| !line.starts_with('#'));
    let kept: Vec<u64> = kept.map(|line| line.parse().expect("a seed")).collect();
    let (start, time, first) = (Instant::now(), time(), first_seed());
    let goes_on = move |&seed: &u64| match time {
        Some(time) => start.elapsed() < time,
        None => seed < first + count,
    };
    kept.into_iter().chain((first..).take_while(goes_on))
}

/// Keeps a seed that failed.
pub fn keep(file: &str, seed: u64) {
    let known = std::fs::read_to_string(file).unwrap_or_default();
    if known.lines().any(|line| line == seed.to_string()) {
        return;
    }
    let kept = std::fs::File::options().append(true).open(file);
    if let Err(error) = kept.and_then(|mut file| writeln!(file, "{seed}")) {
        eprintln!("seed {seed} could not be kept: {error}");
    }
}
