//! Contestants timed in turns, so that other load on the machine affects them equally. Targets are
//! based on these ratios.

use super::bench::Bench;
use super::record::{Subject, rounded};
use super::stats::{median, quantile};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Something that is timed: its subject, and a function that takes a step and returns its seconds.
pub struct Contestant<'a> {
    subject: Subject,
    step: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(subject: Subject, step: impl FnMut() -> f64 + 'a) -> Self {
        Self { subject, step: Box::new(step) }
    }
}

/// The most and the fewest rounds.
const ROUNDS: usize = 21;
const LEAST_ROUNDS: usize = 7;

/// After this time only the fewest rounds are completed.
const ENOUGH: Duration = Duration::from_secs(6);

/// Times every contestant once in each round. Returns a line for each: its time, and the ratio of
/// its bandwidth to each other contestant's, the median over the rounds.
pub fn take(bench: &Bench, clock: &str, mut contestants: Vec<Contestant<'_>>) -> Vec<Value> {
    let rounds = rounds(bench, &mut contestants);
    let series = format!("{clock}, in turns");
    let subjects: Vec<_> = contestants.iter().map(|contestant| &contestant.subject).collect();
    let lines = subjects.iter().enumerate().map(|(own, subject)| {
        let times: Vec<_> = rounds.iter().map(|round| round[own]).collect();
        let mut line = subject.line(&series, &times);
        line["ratios"] = ratios(&subjects, &rounds, own);
        line
    });
    lines.collect()
}

/// Seconds by round and contestant.
fn rounds(bench: &Bench, contestants: &mut [Contestant<'_>]) -> Vec<Vec<f64>> {
    let least = if bench.quick { 1 } else { LEAST_ROUNDS };
    let most = if bench.quick { 1 } else { ROUNDS };
    let count = contestants.len();
    if !bench.quick {
        for contestant in contestants.iter_mut() {
            (contestant.step)(); // to warm up
        }
    }
    let start = Instant::now();
    let mut rounds = Vec::new();
    while rounds.len() < most && (rounds.len() < least || start.elapsed() < ENOUGH) {
        let mut round = vec![0.0; count];
        // The order changes, so that no contestant always follows the same one.
        for k in 0..count {
            let index = if rounds.len().is_multiple_of(2) { k } else { count - 1 - k };
            let index = (index + rounds.len() / 2) % count;
            round[index] = (contestants[index].step)();
        }
        rounds.push(round);
    }
    rounds
}

/// A contestant's ratios to the others, by their labels: median, lower and upper quartile.
fn ratios(subjects: &[&Subject], rounds: &[Vec<f64>], own: usize) -> Value {
    let mut ratios = Map::new();
    for (other, subject) in subjects.iter().enumerate().filter(|(other, _)| *other != own) {
        let bytes = subjects[own].bytes as f64 / subject.bytes as f64;
        let all: Vec<_> = rounds.iter().map(|round| bytes * round[other] / round[own]).collect();
        let [low, high] = [0.25, 0.75].map(|share| rounded(quantile(&all, share)));
        let label = match subject.shape == subjects[own].shape {
            true => subject.label(),
            false => format!("{} {}", subject.label(), subject.shape),
        };
        ratios.insert(label, json!([rounded(median(&all)), low, high]));
    }
    Value::Object(ratios)
}
