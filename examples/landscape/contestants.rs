//! The rules that are compared, and learning rates that work well for them.

use crate::function::Function;
use wgpu_optim::{DynRule, SGD, rules};

/// A rule with its name on the command line and its title in pictures.
pub struct Contestant {
    pub name: String,
    pub title: String,
    rule: Box<dyn DynRule>,
}

impl Contestant {
    /// The rule, with a learning rate for this function.
    pub fn rule(&self, function: Function, lr: Option<f64>) -> Box<dyn DynRule> {
        let mut rule = self.rule.boxed();
        rule.set_lr(lr.unwrap_or_else(|| learning_rate(function, &self.name)));
        rule
    }
}

/// Every rule of the crate with its default options, and SGD also with momentum.
pub fn all() -> Vec<Contestant> {
    let contestant = |rule: Box<dyn DynRule>| Contestant {
        name: rule.name().into(),
        title: title(&*rule),
        rule,
    };
    let mut all: Vec<Contestant> = rules::all().into_iter().map(contestant).collect();
    all.push(Contestant {
        name: "sgd-momentum".into(),
        title: "SGD, momentum 0.9".into(),
        rule: SGD { momentum: 0.9, ..Default::default() }.into(),
    });
    all
}

/// The name of the rule's type, with which its debug output begins.
fn title(rule: &dyn DynRule) -> String {
    format!("{rule:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

/// A learning rate with which a rule shows its typical behavior.
fn learning_rate(function: Function, name: &str) -> f64 {
    let [rosenbrock, beale] = match name {
        "sgd" | "asgd" | "schedulefreesgd" => [5e-4, 0.01],
        "sgd-momentum" => [5e-4, 1e-3],
        "adagrad" => [0.5, 0.5],
        "rmsprop" => [5e-3, 0.02],
        "adadelta" => [2.0, 1.0],
        "adamax" => [0.5, 0.2],
        "adamw" => [0.05, 0.1],
        "nadam" => [0.02, 0.1],
        // Its first steps are not normalized by the gradient's magnitude.
        "radam" => [1e-3, 0.01],
        "rprop" | "lion" | "lamb" => [0.01, 0.01],
        // The length of a step is lr/1000 times the norm of all starts.
        "lars" => [1.0, 1.0],
        // Adam, AdaBelief, and rules that this list does not name.
        _ => [0.1, 0.1],
    };
    match function {
        Function::Rosenbrock => rosenbrock,
        Function::Beale => beale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_listed_once() {
        let contestants = all();
        for rule in rules::all() {
            let same = |contestant: &&Contestant| contestant.name == rule.name();
            assert_eq!(contestants.iter().filter(same).count(), 1, "{}", rule.name());
        }
    }

    #[test]
    fn titles_are_the_names_of_the_types() {
        assert_eq!(title(&wgpu_optim::AdamW::default()), "AdamW");
        assert!(all().iter().all(|contestant| !contestant.title.is_empty()));
    }
}
