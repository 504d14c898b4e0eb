//! Random sequences of everything that can be done with an optimizer, on the GPU and on its twins
//! on the CPU in f32 and f64: what is read is always what the twins have.

mod pool;
mod subject;
mod twins;

use subject::Subject;

/// How many operations are tried: this variable, or a number that takes about 20 seconds.
const OPERATIONS: &str = "MACHINE_OPERATIONS";
const BY_DEFAULT: u64 = 1500;

/// Of one optimizer.
const IN_A_ROW: u64 = 150;

/// The first seed: this variable, to look further.
const FIRST_SEED: &str = "MACHINE_SEED";

/// Seeds that once failed, in an earlier course of what they make.
const FAILED: [u64; 4] = [8, 12, 47, 1212];

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// Tells what was done if something fails.
struct Told(u64, Subject);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}:\n{}", self.0, self.1.log.join("\n"));
        }
    }
}

fn run(seed: u64, operations: u64) {
    let mut told = Told(seed, Subject::new(seed));
    (0..operations).for_each(|_| told.1.act());
}

#[test]
fn whatever_is_done_the_twins_agree() {
    FAILED.into_iter().for_each(|seed| run(seed, IN_A_ROW));
    let first = number(FIRST_SEED, 0);
    let sequences = number(OPERATIONS, BY_DEFAULT).div_ceil(IN_A_ROW);
    (first..first + sequences).for_each(|seed| run(seed, IN_A_ROW));
}
