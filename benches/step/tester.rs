//! A check that cannot fail proves nothing: it must report wrong results.

use super::support::bench::Bench;
use super::support::shapes::Shape;
use super::support::workload::{Placement, check, checked, rule};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// Checks RMSprop's results against Adam's, and Adam's after too many steps.
pub fn tester(bench: &mut Bench) {
    let shape = Shape::many(3, 1 << 10);
    for (stepped, expected) in [("rmsprop", "adam"), ("adam", "adam")] {
        let mut optimizer =
            checked(&bench.gpu, &shape, rule(stepped).as_ref(), Placement::Separate);
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        let found = catch_unwind(AssertUnwindSafe(|| {
            check(
                &bench.gpu,
                &shape,
                rule(expected).as_ref(),
                &mut optimizer,
                |optimizer, tensor| optimizer.param(tensor.to_string()).expect("a known parameter"),
            );
        }));
        set_hook(hook);
        assert!(found.is_err(), "{stepped}'s results passed for {expected}'s");
    }
}
