//! The rules that cases take, with every option, and numbers that differ from the defaults. The
//! names of those that shrink parameters apart from the gradient contain `decoupled`.

use wgpu_optim::{
    AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, DynRule, LAMB, LARS, Lion, NAdam, RAdam,
    RMSprop, Rprop, SGD,
};

/// A rule of any type.
pub type Rule = Box<dyn DynRule>;

pub fn copy(rule: &Rule) -> Rule {
    rule.boxed()
}

/// The names of the states in use.
pub fn states(rule: &Rule) -> Vec<&'static str> {
    rule.states().iter().map(|state| state.name).collect()
}

const BETAS: (f64, f64) = (0.8, 0.95);

/// A list of names and rules, each a struct literal without its defaults.
macro_rules! rules {
    ($($name:literal: $rule:ident { $($field:ident: $value:expr),* };)+) => {
        vec![$(($name, $rule { $($field: $value,)* ..Default::default() }.into())),+]
    };
}

/// Every rule, by name.
pub fn rules() -> Vec<(&'static str, Rule)> {
    [first_order(), second_moments(), adams(), trust_ratios()].into_iter().flatten().collect()
}

fn first_order() -> Vec<(&'static str, Rule)> {
    rules! {
        "sgd": SGD {};
        "sgd_decay": SGD { lr: 0.3, weight_decay: 0.1 };
        "sgd_maximize": SGD { lr: 0.3, weight_decay: 0.1, maximize: true };
        "sgd_momentum": SGD { momentum: 0.9 };
        "sgd_momentum_decay": SGD { lr: 0.3, momentum: 0.7, dampening: 0.4, weight_decay: 0.1 };
        "sgd_momentum_maximize": SGD { lr: 0.3, momentum: 0.7, dampening: 0.4, maximize: true };
        "sgd_nesterov": SGD { momentum: 0.9, nesterov: true };
        "sgd_nesterov_decay": SGD { momentum: 0.7, weight_decay: 0.1, nesterov: true };
        "lion": Lion {};
        "lion_maximize": Lion { lr: 0.3, betas: BETAS, maximize: true };
        "lion_decoupled": Lion { lr: 0.3, betas: BETAS, weight_decay: 0.1 };
        "rprop": Rprop {};
        "rprop_etas": Rprop { etas: (0.3, 1.7), step_sizes: (0.2, 0.7) };
        "rprop_maximize": Rprop { lr: 0.3, etas: (0.3, 1.7), maximize: true };
    }
}

fn second_moments() -> Vec<(&'static str, Rule)> {
    let mut rules: Vec<(&'static str, Rule)> = rules! {
        "adagrad": Adagrad {};
        "adagrad_eps_in_sqrt": Adagrad { eps_in_sqrt: true };
        "adagrad_decay": Adagrad {
            lr: 0.3, lr_decay: 0.1, weight_decay: 0.1, initial_accumulator_value: 0.5, eps: 1e-3
        };
        "adagrad_maximize": Adagrad { lr_decay: 0.1, eps_in_sqrt: true, maximize: true };
        "adadelta": Adadelta {};
        "adadelta_decay": Adadelta { lr: 0.3, rho: 0.7, eps: 1e-3, weight_decay: 0.1 };
        "adadelta_maximize": Adadelta { lr: 0.3, weight_decay: 0.1, maximize: true };
        "rmsprop_decay": RMSprop { lr: 0.3, alpha: 0.8, eps: 1e-3, weight_decay: 0.1 };
        "rmsprop_maximize": RMSprop {
            alpha: 0.8, weight_decay: 0.1, centered: true, maximize: true
        };
        "rmsprop_momentum_decay": RMSprop { lr: 0.3, alpha: 0.8, weight_decay: 0.1, momentum: 0.5 };
        "rmsprop_tensorflow": RMSprop {
            momentum: 0.7, lr_in_momentum: true, initial_square_avg: 1.0, eps_in_sqrt: true
        };
    };
    for (name, momentum, centered, eps_in_sqrt) in [
        ("rmsprop", 0.0, false, false),
        ("rmsprop_eps_in_sqrt", 0.0, false, true),
        ("rmsprop_centered", 0.0, true, false),
        ("rmsprop_centered_eps_in_sqrt", 0.0, true, true),
        ("rmsprop_momentum", 0.9, false, false),
        ("rmsprop_momentum_eps_in_sqrt", 0.9, false, true),
        ("rmsprop_momentum_centered", 0.9, true, false),
        ("rmsprop_momentum_centered_eps_in_sqrt", 0.9, true, true),
    ] {
        let rule = RMSprop { momentum, centered, eps_in_sqrt, ..Default::default() };
        rules.push((name, rule.into()));
    }
    rules
}

fn adams() -> Vec<(&'static str, Rule)> {
    rules! {
        "adam": Adam {};
        "adam_amsgrad": Adam { amsgrad: true };
        "adam_amsgrad_decay": Adam { lr: 0.3, betas: BETAS, weight_decay: 0.1, amsgrad: true };
        "adam_amsgrad_corrected": Adam { betas: BETAS, amsgrad: true, max_after_correction: true };
        "adam_decay": Adam { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1 };
        "adam_maximize": Adam { lr: 0.3, weight_decay: 0.1, maximize: true };
        "adamw": AdamW { weight_decay: 0.0 };
        "adamw_zeros": AdamW { lr: 0.0, betas: (0.0, 0.0), eps: 1.0, weight_decay: 0.0 };
        "adamw_amsgrad_maximize": AdamW { weight_decay: 0.0, amsgrad: true, maximize: true };
        "adamw_decoupled": AdamW {};
        "adamw_decoupled_amsgrad": AdamW { weight_decay: 0.1, amsgrad: true };
        "adamw_decoupled_maximize": AdamW {
            lr: 0.3, betas: BETAS, weight_decay: 0.5, maximize: true
        };
        "adamax": Adamax {};
        "adamax_decay": Adamax { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1 };
        "adamax_maximize": Adamax { weight_decay: 0.1, maximize: true };
        "nadam": NAdam {};
        "nadam_decay": NAdam {
            lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1, momentum_decay: 0.1
        };
        "nadam_maximize": NAdam { weight_decay: 0.1, maximize: true };
        "nadam_decoupled": NAdam { weight_decay: 0.1, decoupled_weight_decay: true };
        "radam": RAdam {};
        "radam_decay": RAdam { lr: 0.3, betas: (0.8, 0.5), eps: 1e-3, weight_decay: 0.1 };
        "radam_maximize": RAdam { betas: (0.8, 0.5), weight_decay: 0.1, maximize: true };
        "radam_decoupled": RAdam {
            betas: (0.8, 0.5), weight_decay: 0.1, decoupled_weight_decay: true
        };
        "adabelief": AdaBelief {};
        "adabelief_maximize": AdaBelief { lr: 0.3, betas: BETAS, eps_root: 1e-6, maximize: true };
        "adabelief_decoupled": AdaBelief { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1 };
    }
}

fn trust_ratios() -> Vec<(&'static str, Rule)> {
    rules! {
        "lamb": LAMB {};
        "lamb_decay": LAMB { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1 };
        "lamb_maximize": LAMB { weight_decay: 0.1, maximize: true };
        "lars": LARS {};
        "lars_decay": LARS { lr: 0.3, momentum: 0.5, weight_decay: 0.1, trust_coefficient: 0.5 };
        "lars_maximize": LARS { weight_decay: 0.1, maximize: true };
    }
}

/// A list of names and pairs of rules of one type.
macro_rules! pairs {
    ($($name:literal: $rule:ident $([$($field:ident: $value:expr),*])+;)+) => {
        vec![$(
            ($name, [$($rule { $($field: $value,)* ..Default::default() }.into()),+])
        ),+]
    };
}

/// Rules to control, by name, each with other numbers for a second group.
pub fn controlled() -> Vec<(&'static str, [Rule; 2])> {
    pairs! {
        "sgd_momentum": SGD
            [lr: 0.03, momentum: 0.9, weight_decay: 0.01]
            [lr: 0.3, momentum: 0.5, dampening: 0.1, maximize: true];
        "adam": Adam
            [weight_decay: 0.1]
            [lr: 0.3, betas: BETAS, eps: 1e-3, maximize: true];
        "adamw": AdamW
            [weight_decay: 0.0]
            [lr: 0.3, betas: BETAS, weight_decay: 0.0, maximize: true];
        "adamw_decoupled": AdamW
            [weight_decay: 0.1]
            [lr: 0.3, betas: BETAS, weight_decay: 0.5, maximize: true];
        "nadam": NAdam
            []
            [lr: 0.3, betas: BETAS, weight_decay: 0.1, momentum_decay: 0.1];
        "lion": Lion
            []
            [lr: 0.3, betas: BETAS, maximize: true];
        "lamb": LAMB
            [weight_decay: 0.1]
            [lr: 0.3, betas: BETAS, eps: 1e-3];
        "lars": LARS
            [weight_decay: 0.1]
            [lr: 0.3, momentum: 0.5, trust_coefficient: 0.5, maximize: true];
    }
}
