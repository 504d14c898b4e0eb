//! The names of states in the records of Burn's own optimizers.

use burn_pack::Scalar;
use std::collections::BTreeMap;

/// A state of Burn's: its name there, the core's, and the rules that have it so.
type Name = (&'static str, &'static str, &'static [&'static str]);

const ADAM: &[&str] = &["adam", "adamw"];
const ADAN: &[&str] = &["adan"];
/// Without a trust ratio LAMB is AdamW.
const LAMB: &[&str] = &["lamb", "adamw"];
const ADAGRAD: &[&str] = &["adagrad"];
const RMSPROP: &[&str] = &["rmsprop"];

const ARRAYS: [Name; 15] = [
    ("momentum.exp_avg", "exp_avg", ADAN),
    ("momentum.exp_avg_sq", "exp_avg_sq", ADAN),
    ("momentum.exp_avg_diff", "exp_avg_diff", ADAN),
    ("momentum.neg_pre_grad", "neg_pre_grad", ADAN),
    ("momentum.moment_1", "exp_avg", ADAM),
    ("momentum.moment_2", "exp_avg_sq", ADAM),
    ("momentum.max_moment_2", "max_exp_avg_sq", ADAM),
    ("moment_1", "exp_avg", LAMB),
    ("moment_2", "exp_avg_sq", LAMB),
    ("lr_decay.sum", "sum", ADAGRAD),
    ("square_avg.square_avg", "square_avg", RMSPROP),
    ("centered.grad_avg", "grad_avg", RMSPROP),
    ("momentum.buf", "momentum_buffer", RMSPROP),
    ("momentum.velocity", "momentum_buffer", &["sgd"]),
    ("momentum", "exp_avg", &["lion"]),
];

/// Numbers of steps.
const COUNTS: [(&str, &[&str]); 4] =
    [("momentum.time", ADAM), ("momentum.time", ADAN), ("time", LAMB), ("lr_decay.time", ADAGRAD)];

/// What each step computes anew.
const COMPUTED: &str = "centered.avg";

/// Gives the arrays of a record of Burn's own the core's names, and takes the numbers; how many
/// steps there were, or what is wrong.
pub(crate) fn translate<T>(
    arrays: &mut BTreeMap<String, T>,
    numbers: &mut BTreeMap<String, Scalar>,
    rule: &str,
) -> Result<u64, String> {
    let mut unknown = Vec::new();
    for (name, values) in std::mem::take(arrays).into_iter().filter(|(name, _)| name != COMPUTED) {
        match ARRAYS.iter().find(|(burn, _, rules)| *burn == name && rules.contains(&rule)) {
            Some((_, own, _)) => drop(arrays.insert((*own).to_owned(), values)),
            None => unknown.push(name),
        }
    }
    // Rules that count no steps there have taken some, which is all that they ask here.
    let mut steps = 1;
    for (name, number) in std::mem::take(numbers) {
        if COUNTS.iter().any(|(burn, rules)| *burn == name && rules.contains(&rule)) {
            steps = u64::try_from(number).map_err(|_| format!("`{name}` is no count"))?;
        } else {
            unknown.push(name);
        }
    }
    if unknown.is_empty() {
        return Ok(steps);
    }
    let known = ARRAYS.iter().filter(|(_, _, rules)| rules.contains(&rule));
    let known: Vec<_> = known.map(|(burn, _, _)| *burn).collect();
    Err(format!(
        "{rule} takes over [{}] from Burn's own optimizers, but found [{}]. Load the record into \
         the rule that it is of",
        known.join(", "),
        unknown.join(", ")
    ))
}
