//! The rules to walk: every option of every rule, and hyperparameters that differ from the defaults.

use wgpu_optim::rules::all;
use wgpu_optim::{
    AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, DynRule, LAMB, LARS, Lion, NAdam, RAdam,
    RMSprop, Rprop, SGD,
};

/// Every rule with every option at its defaults, and every rule with every number changed.
pub fn cases() -> Vec<Box<dyn DynRule>> {
    let mut cases = all();
    cases.extend(changed_numbers());
    cases
}

/// What a case is called in messages.
pub fn label(rule: &dyn DynRule) -> String {
    format!("{rule:?}")
}

fn changed_numbers() -> Vec<Box<dyn DynRule>> {
    let betas = (0.8, 0.95);
    vec![
        SGD { lr: 0.3, weight_decay: 0.1, maximize: true, ..Default::default() }.into(),
        SGD { lr: 0.3, momentum: 0.7, dampening: 0.4, maximize: true, ..Default::default() }.into(),
        SGD { momentum: 0.7, weight_decay: 0.1, nesterov: true, ..Default::default() }.into(),
        Adagrad {
            lr: 0.3,
            lr_decay: 0.1,
            weight_decay: 0.1,
            initial_accumulator_value: 0.5,
            eps: 1e-3,
            maximize: true,
            ..Default::default()
        }
        .into(),
        RMSprop {
            lr: 0.3,
            alpha: 0.8,
            eps: 1e-3,
            weight_decay: 0.1,
            momentum: 0.5,
            maximize: true,
            ..Default::default()
        }
        .into(),
        RMSprop { alpha: 0.8, eps: 1e-3, centered: true, ..Default::default() }.into(),
        Adam { lr: 0.3, betas, eps: 1e-3, weight_decay: 0.1, maximize: true, ..Default::default() }
            .into(),
        Adam { lr: 0.3, betas, weight_decay: 0.1, amsgrad: true, ..Default::default() }.into(),
        AdamW { betas, amsgrad: true, max_after_correction: true, ..Default::default() }.into(),
        RMSprop {
            momentum: 0.7,
            lr_in_momentum: true,
            initial_square_avg: 1.0,
            eps_in_sqrt: true,
            ..Default::default()
        }
        .into(),
        AdamW {
            lr: 0.3,
            betas,
            eps: 1e-3,
            weight_decay: 0.5,
            maximize: true,
            ..Default::default()
        }
        .into(),
        Adadelta { lr: 0.3, rho: 0.7, eps: 1e-3, weight_decay: 0.1, maximize: true }.into(),
        Adamax { lr: 0.3, betas, eps: 1e-3, weight_decay: 0.1, maximize: true }.into(),
        NAdam {
            lr: 0.3,
            betas,
            eps: 1e-3,
            weight_decay: 0.1,
            momentum_decay: 0.1,
            maximize: true,
            ..Default::default()
        }
        .into(),
        NAdam { weight_decay: 0.1, decoupled_weight_decay: true, ..Default::default() }.into(),
        RAdam {
            lr: 0.3,
            betas: (0.8, 0.5),
            eps: 1e-3,
            weight_decay: 0.1,
            maximize: true,
            ..Default::default()
        }
        .into(),
        RAdam { weight_decay: 0.1, decoupled_weight_decay: true, ..Default::default() }.into(),
        Rprop { lr: 0.3, etas: (0.3, 1.7), step_sizes: (0.2, 0.7), maximize: true }.into(),
        LAMB { lr: 0.3, betas, eps: 1e-3, weight_decay: 0.1, maximize: true }.into(),
        LARS { lr: 0.3, momentum: 0.5, weight_decay: 0.1, trust_coefficient: 0.5, maximize: true }
            .into(),
        Lion { lr: 0.3, betas, weight_decay: 0.1, maximize: true }.into(),
        AdaBelief { lr: 0.3, betas, eps: 1e-3, eps_root: 1e-6, weight_decay: 0.1, maximize: true }
            .into(),
        AdamW { lr: 0.0, betas: (0.0, 0.0), eps: 1.0, weight_decay: 0.0, ..Default::default() }
            .into(),
    ]
}
