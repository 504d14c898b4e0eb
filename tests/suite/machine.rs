//! Random sequences of everything that can be done with an optimizer, on the GPU and on its twins
//! on the CPU in f32 and f64: what is read is always what the twins have.

mod pool;
mod subject;
mod twins;

use crate::common::fuzz;
use subject::Subject;

/// Sequences that are tried, which takes about 20 seconds; `FUZZ_SECONDS` tries more.
const SEQUENCES: u64 = 10;

/// Operations of each, with an optimizer of its own.
const IN_A_ROW: u64 = 150;

/// Seeds that once failed.
const KEPT: &str = "tests/regressions/machine.txt";

/// Tells what was done if something fails, and keeps the seed.
struct Told(u64, Subject);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}:\n{}", self.0, self.1.log.join("\n"));
            fuzz::keep(KEPT, self.0);
        }
    }
}

#[test]
fn whatever_is_done_the_twins_agree() {
    let mut operations = 0;
    for seed in fuzz::seeds(KEPT, SEQUENCES) {
        let mut told = Told(seed, Subject::new(seed));
        (0..IN_A_ROW).for_each(|_| told.1.act());
        operations += IN_A_ROW;
    }
    println!("{operations} operations");
}
