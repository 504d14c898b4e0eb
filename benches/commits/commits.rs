//! The speed of this crate beside that of another commit of it, in turns, in one process, on one
//! device. `scripts/compare-speed` builds this program with both and runs it.
//!
//! A line for each case: times of the commit and of the working tree, and the median of the
//! rounds' ratios with its quartiles. Arguments: a text that the names of cases contain. (It is not
//! called `main.rs`, since Cargo would take that for a bench.)

mod cases;
mod gpu;
#[allow(dead_code, reason = "other benches use more of it")]
#[path = "../support/stats.rs"]
mod stats;

use cases::{Case, NEW, OLD};
use stats::{median, quantile};
use std::time::{Duration, Instant};

/// The most and the fewest rounds of a case, and the time after which only the fewest are
/// completed.
const ROUNDS: usize = 101;
const LEAST_ROUNDS: usize = 15;
const ENOUGH: Duration = Duration::from_secs(4);

/// A case is slower if the median of its ratios is above this, and so is the lower quartile above
/// 1: on a busy machine a median alone says little.
const LIMIT: f64 = 1.02;

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let gpu = gpu::Gpu::open();
    println!("{}\n", gpu.name);
    println!("{:44} {:>10} {:>10}  new/old (quartiles)", "", "old", "new");
    let mut slower = Vec::new();
    for name in cases::names().into_iter().filter(|name| name.contains(&wanted)) {
        let ratio = compare(&name, &gpu);
        if ratio.is_slower() {
            slower.push(name);
        }
    }
    println!("\nslower than {LIMIT}: {slower:?}");
}

/// Of the rounds' ratios, new / old: the lower quartile and the median.
struct Ratio {
    low: f64,
    middle: f64,
}

impl Ratio {
    fn is_slower(&self) -> bool {
        self.middle > LIMIT && self.low > 1.0
    }
}

/// Twice, since where buffers are in memory depends on who made them first.
fn compare(name: &str, gpu: &gpu::Gpu) -> Ratio {
    let mut times = [Vec::new(), Vec::new()];
    let mut unit = "";
    for order in [[OLD, NEW], [NEW, OLD]] {
        let mut sides = order.map(|side| cases::case(side, name, gpu));
        if order == [NEW, OLD] {
            sides.reverse();
        }
        unit = sides[0].unit;
        measure(&mut sides, &mut times);
    }
    let ratios: Vec<_> = times[1].iter().zip(&times[0]).map(|(new, old)| new / old).collect();
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share));
    let [old, new] = [0, 1].map(|side| median(&times[side]));
    println!("{name:44} {old:7.3} {unit} {new:7.3} {unit}  {middle:.3} ({low:.3} to {high:.3})");
    Ratio { low, middle }
}

/// Appends the times of each round.
fn measure(sides: &mut [Case; 2], times: &mut [Vec<f64>; 2]) {
    for side in sides.iter_mut() {
        for _ in 0..3 {
            (side.run)(); // to warm up
        }
    }
    let start = Instant::now();
    for round in 0..ROUNDS {
        if round >= LEAST_ROUNDS && start.elapsed() > ENOUGH {
            break;
        }
        // Neither is always the second.
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            times[side].push((sides[side].run)());
        }
    }
}
