//! What tests know of each rule: one row a rule. A new rule adds its row to [`FACTS`], and every
//! test that walks rules walks it too.

#![expect(clippy::needless_update, reason = "some literals of `rules` name every field")]

use super::exact::{QUOTIENT, SQUARED_QUOTIENT, SUMMED_QUOTIENT, SUMS, TRUST_RATIO, Tolerance};
use super::hyper::Hyper;
use wgpu_optim::{
    ADOPT, ASGD, AdEMAMix, AdaBelief, Adadelta, Adagrad, Adam, AdamW, Adamax, Adan, DynRule, LAMB,
    LARS, LaProp, Lion, MARS, NAdam, RAdam, RMSprop, Rprop, SGD, ScheduleFreeAdamW,
    ScheduleFreeRAdam, ScheduleFreeSGD,
};

pub type Rules = Vec<Box<dyn DynRule>>;

/// What tests know of a rule.
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// A value for each way in which its options can be set, numbers at their defaults. The first
    /// is the default.
    pub variants: fn() -> Rules,
    /// Values whose numbers differ from the defaults, and what is neither an option nor a number.
    pub changed: fn() -> Rules,
    /// How many ulps a step on the GPU may be off.
    pub tolerance: Tolerance,
    /// The learning rates by which a variant minimizes a quadratic, and Rosenbrock's function.
    pub rates: fn(&dyn DynRule) -> [f64; 2],
    /// How far a variant may drift from f64 in a hundred thousand steps of f32, in parts of its
    /// way, for each pattern of `tests/suite/long.rs`: two to three times what was measured. 1
    /// means that f32 cannot follow, as where the exact step grows without bound.
    pub drifts: fn(&dyn DynRule) -> [f64; 6],
    /// Runs of other libraries.
    pub golden: Golden,
}

/// The runs of a rule in `tests/golden`.
pub struct Golden {
    /// The files' stems.
    pub cases: &'static [&'static str],
    /// The rule that has these hyperparameters.
    pub rule: fn(&mut Hyper) -> Box<dyn DynRule>,
    /// States by optax's names, and our names for them.
    pub states: &'static [[&'static str; 2]],
    /// The largest relative difference of an f64 run.
    pub f64_tolerance: f64,
}

/// A row's golden runs, but for `cases` and `rule`.
const PYTORCH: Golden =
    Golden { cases: &[], rule: |_| SGD::default().into(), states: &[], f64_tolerance: 1e-12 };

/// A list of rules, each a struct literal without its defaults.
macro_rules! rules {
    ($($rule:ident { $($field:ident: $value:expr),* $(,)? }),* $(,)?) => {
        vec![$(Box::<dyn DynRule>::from($rule { $($field: $value,)* ..Default::default() })),*]
    };
}

const BETAS: (f64, f64) = (0.8, 0.95);
const THREE_BETAS: (f64, f64, f64) = (0.9, 0.8, 0.95);

/// The row of a rule; `None` for one that is not the crate's.
pub fn of(name: &str) -> Option<&'static Facts> {
    FACTS.iter().find(|facts| facts.name == name)
}

pub static FACTS: &[Facts] = &[
    Facts {
        name: "adabelief",
        variants: || rules![AdaBelief {}],
        changed: || {
            rules![AdaBelief {
                lr: 0.3,
                betas: BETAS,
                eps: 1e-3,
                eps_root: 1e-6,
                weight_decay: 0.1,
                maximize: true
            }]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.0, 1e-4, 7e-5, 2e-7, 6e-5, 2e-7],
        golden: Golden {
            cases: &["adabelief"],
            rule: |h| {
                AdaBelief {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-16),
                    eps_root: h.number("eps_root", 1e-16),
                    ..Default::default()
                }
                .into()
            },
            states: &[["mu", "exp_avg"], ["nu", "exp_avg_var"]],
            ..PYTORCH
        },
    },
    Facts {
        name: "adadelta",
        variants: || rules![Adadelta {}],
        changed: || {
            rules![Adadelta { lr: 0.3, rho: 0.7, eps: 1e-3, weight_decay: 0.1, maximize: true }]
        },
        tolerance: SQUARED_QUOTIENT,
        rates: |_| [10.0, 3.0],
        drifts: |_| [1.5e-3, 1e-3, 3e-5, 2e-8, 1e-6, 2e-7],
        golden: Golden {
            cases: &["adadelta", "adadelta_decay"],
            rule: |h| {
                Adadelta {
                    lr: h.lr(),
                    rho: h.number("rho", 0.9),
                    eps: h.number("eps", 1e-6),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "adagrad",
        variants: || rules![Adagrad {}, Adagrad { eps_in_sqrt: true }],
        changed: || {
            rules![Adagrad {
                lr: 0.3,
                lr_decay: 0.1,
                weight_decay: 0.1,
                initial_accumulator_value: 0.5,
                eps: 1e-3,
                maximize: true
            }]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.5, 0.5],
        drifts: |_| [5e-4, 1.2e-4, 2e-5, 9e-7, 4e-6, 2e-6],
        golden: Golden {
            cases: &["adagrad", "adagrad_decay", "adagrad_eps_inside"],
            rule: |h| {
                Adagrad {
                    lr: h.lr(),
                    lr_decay: h.number("lr_decay", 0.0),
                    weight_decay: h.number("weight_decay", 0.0),
                    initial_accumulator_value: h.number("initial_accumulator_value", 0.0),
                    eps: h.number("eps", 1e-10),
                    eps_in_sqrt: h.flag("eps_in_sqrt"),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            states: &[["sum_of_squares", "sum"]],
            ..PYTORCH
        },
    },
    Facts {
        name: "adam",
        variants: || rules![Adam {}, Adam { amsgrad: true }],
        changed: || {
            rules![
                Adam { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1, maximize: true },
                Adam { lr: 0.3, betas: BETAS, weight_decay: 0.1, amsgrad: true },
                Adam { betas: BETAS, amsgrad: true, max_after_correction: true },
            ]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.2e-3, 1.2e-3, 2.4e-5, 3e-8, 9e-5, 1e-6],
        golden: Golden {
            cases: &["adam", "adam_amsgrad", "adam_l2", "adam_maximize"],
            rule: |h| {
                Adam {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    amsgrad: h.flag("amsgrad"),
                    max_after_correction: false,
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "adamw",
        variants: || rules![AdamW {}, AdamW { amsgrad: true }],
        changed: || {
            rules![
                AdamW { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.5, maximize: true },
                AdamW { betas: BETAS, amsgrad: true, max_after_correction: true },
                AdamW { lr: 0.0, betas: (0.0, 0.0), eps: 1.0, weight_decay: 0.0 },
            ]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.2e-3, 1.2e-3, 7e-6, 1e-6, 6e-5, 2e-6],
        golden: Golden {
            cases: &["adamw", "adamw_amsgrad"],
            rule: |h| {
                AdamW {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 1e-2),
                    amsgrad: h.flag("amsgrad"),
                    max_after_correction: false,
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "adamax",
        variants: || rules![Adamax {}],
        changed: || {
            rules![Adamax { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1, maximize: true }]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.2e-3, 1e-3, 1e-4, 3e-8, 3e-5, 4e-7],
        golden: Golden {
            cases: &["adamax", "adamax_l2"],
            rule: |h| {
                Adamax {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "adan",
        variants: || rules![Adan {}],
        changed: || {
            rules![
                Adan { lr: 0.3, betas: THREE_BETAS, eps: 1e-3, weight_decay: 0.5, maximize: true },
                Adan { weight_decay: 0.1, no_prox: true },
            ]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.2e-3, 1.2e-3, 8e-5, 1e-6, 1.2e-5, 1.5e-6],
        golden: Golden {
            cases: &["adan", "adan_no_prox"],
            rule: |h| {
                Adan {
                    lr: h.lr(),
                    betas: h.three_betas((0.98, 0.92, 0.99)),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    no_prox: h.flag("no_prox"),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "ademamix",
        variants: || rules![AdEMAMix {}],
        changed: || {
            rules![
                AdEMAMix {
                    lr: 0.3,
                    betas: THREE_BETAS,
                    alpha: 0.5,
                    eps: 1e-3,
                    weight_decay: 0.1,
                    maximize: true
                },
                AdEMAMix { beta3_warmup: 5.5, alpha_warmup: 4.0 },
                AdEMAMix { betas: (0.0, 0.0, 0.9999999), beta3_warmup: 1e7, alpha_warmup: 1e6 },
            ]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [3e-3, 1.2e-3, 3e-3, 3e-5, 3e-4, 7e-6],
        golden: Golden {
            cases: &["ademamix", "ademamix_warmup"],
            rule: |h| {
                AdEMAMix {
                    lr: h.lr(),
                    betas: h.three_betas((0.9, 0.999, 0.9999)),
                    alpha: h.number("alpha", 2.0),
                    beta3_warmup: h.number("beta3_warmup", 0.0),
                    alpha_warmup: h.number("alpha_warmup", 0.0),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "adopt",
        variants: || rules![ADOPT {}, ADOPT { clip: false }],
        changed: || {
            rules![
                ADOPT { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1, maximize: true },
                ADOPT { weight_decay: 0.1, decoupled_weight_decay: true },
            ]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.1, 0.1],
        drifts: |_| [1.2e-3, 1.2e-3, 3e-6, 1e-7, 3e-4, 3e-6],
        golden: Golden {
            cases: &["adopt", "adopt_decoupled"],
            rule: |h| {
                ADOPT {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.9999)),
                    eps: h.number("eps", 1e-6),
                    weight_decay: h.number("weight_decay", 0.0),
                    decoupled_weight_decay: h.flag("decouple"),
                    clip: h.flag_or("clip", true),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "asgd",
        variants: || rules![ASGD {}],
        changed: || {
            rules![
                ASGD { lr: 0.3, lambd: 0.1, t0: 2.0, weight_decay: 0.1, maximize: true },
                ASGD { lr: 0.3, lambd: 0.1, alpha: 0.6, t0: 0.0 },
            ]
        },
        tolerance: SUMS,
        rates: |_| [0.1, 0.15],
        drifts: |_| [2.5e-3, 3e-5, 1e-2, 9e-5, 5e-3, 2e-5],
        golden: Golden {
            cases: &["asgd"],
            rule: |h| {
                ASGD {
                    lr: h.lr(),
                    lambd: h.number("lambd", 1e-4),
                    alpha: h.number("alpha", 0.75),
                    t0: h.number("t0", 1e6),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "lamb",
        variants: || rules![LAMB {}],
        changed: || {
            rules![LAMB { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1, maximize: true }]
        },
        tolerance: TRUST_RATIO,
        rates: |_| [0.1, 0.05],
        drifts: |_| [5e-4, 1.5e-3, 3e-3, 1.5e-6, 2e-4, 1e-6],
        golden: Golden {
            cases: &["lamb"],
            rule: |h| {
                assert_eq!(h.number("eps_root", 0.0), 0.0);
                LAMB {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-6),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            states: &[["mu", "exp_avg"], ["nu", "exp_avg_sq"]],
            ..PYTORCH
        },
    },
    Facts {
        name: "laprop",
        variants: || rules![LaProp {}],
        changed: || {
            rules![LaProp { lr: 0.3, betas: BETAS, eps: 1e-3, weight_decay: 0.1, maximize: true }]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.8e-3, 1.8e-3, 6e-5, 5e-7, 4e-5, 2.5e-6],
        golden: Golden {
            cases: &["laprop", "laprop_schedule"],
            rule: |h| {
                LaProp {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-15),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "lars",
        variants: || rules![LARS {}],
        changed: || {
            rules![LARS {
                lr: 0.3,
                momentum: 0.5,
                weight_decay: 0.1,
                trust_coefficient: 0.5,
                maximize: true
            }]
        },
        tolerance: TRUST_RATIO,
        rates: |_| [10.0, 1.0],
        drifts: |_| [0.1, 0.1, 1.0, 6e-2, 1.0, 2e-2],
        golden: Golden {
            cases: &["lars"],
            rule: |h| {
                assert!(h.number("eps", 0.0) == 0.0 && !h.flag("nesterov"));
                LARS {
                    lr: h.lr(),
                    momentum: h.number("momentum", 0.9),
                    weight_decay: h.number("weight_decay", 0.0),
                    trust_coefficient: h.number("trust_coefficient", 1e-3),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            states: &[["trace", "momentum_buffer"]],
            ..PYTORCH
        },
    },
    Facts {
        name: "lion",
        variants: || rules![Lion {}],
        changed: || rules![Lion { lr: 0.3, betas: BETAS, weight_decay: 0.1, maximize: true }],
        tolerance: SUMS,
        rates: |_| [0.05, 0.01],
        // A step's decay is about an ulp of the parameter, and rounds to 0 or 1 of them.
        drifts: |_| [1.5e-3, 1.5e-3, 1.5e-3, 3e-4, 1.4e-3, 3e-4],
        golden: Golden {
            cases: &["lion", "lion_decay"],
            rule: |h| {
                Lion {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.99)),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            states: &[["mu", "exp_avg"]],
            ..PYTORCH
        },
    },
    Facts {
        name: "mars",
        variants: || rules![MARS {}],
        changed: || {
            rules![MARS {
                lr: 0.3,
                betas: BETAS,
                gamma: 0.2,
                eps: 1e-3,
                weight_decay: 0.1,
                maximize: true
            }]
        },
        tolerance: TRUST_RATIO,
        rates: |_| [0.1, 0.05],
        drifts: |_| [7e-4, 7e-4, 7e-5, 1e-6, 6e-5, 3.5e-7],
        golden: Golden {
            cases: &["mars_adamw"],
            rule: |h| {
                MARS {
                    lr: h.lr(),
                    betas: h.betas((0.95, 0.99)),
                    gamma: h.number("gamma", 0.025),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "nadam",
        variants: || rules![NAdam {}],
        changed: || {
            rules![
                NAdam {
                    lr: 0.3,
                    betas: BETAS,
                    eps: 1e-3,
                    weight_decay: 0.1,
                    momentum_decay: 0.1,
                    maximize: true
                },
                NAdam { weight_decay: 0.1, decoupled_weight_decay: true },
            ]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.2e-3, 1.2e-3, 4e-5, 3e-7, 9e-5, 7e-7],
        golden: Golden {
            cases: &["nadam", "nadamw"],
            rule: |h| {
                NAdam {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    momentum_decay: h.number("momentum_decay", 4e-3),
                    decoupled_weight_decay: h.flag("decoupled_weight_decay"),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            // PyTorch keeps the product of momentum factors in f32.
            f64_tolerance: 1e-7,
            ..PYTORCH
        },
    },
    Facts {
        name: "radam",
        variants: || rules![RAdam {}],
        changed: || {
            rules![
                RAdam { lr: 0.3, betas: (0.8, 0.5), eps: 1e-3, weight_decay: 0.1, maximize: true },
                RAdam { weight_decay: 0.1, decoupled_weight_decay: true },
            ]
        },
        tolerance: QUOTIENT,
        rates: |_| [0.1, 0.05],
        drifts: |_| [1.2e-3, 1.2e-3, 7e-5, 9e-7, 9e-5, 1.5e-6],
        golden: Golden {
            cases: &["radam", "radamw"],
            rule: |h| {
                RAdam {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    decoupled_weight_decay: h.flag("decoupled_weight_decay"),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "rmsprop",
        variants: || {
            rules![
                RMSprop {},
                RMSprop { eps_in_sqrt: true },
                RMSprop { centered: true },
                RMSprop { centered: true, eps_in_sqrt: true },
                RMSprop { momentum: 0.9 },
                RMSprop { momentum: 0.9, eps_in_sqrt: true },
                RMSprop { momentum: 0.9, centered: true },
                RMSprop { momentum: 0.9, centered: true, eps_in_sqrt: true },
            ]
        },
        changed: || {
            rules![
                RMSprop {
                    lr: 0.3,
                    alpha: 0.8,
                    eps: 1e-3,
                    weight_decay: 0.1,
                    momentum: 0.5,
                    maximize: true
                },
                RMSprop { alpha: 0.8, eps: 1e-3, centered: true },
                RMSprop { keep_momentum_buffer: true },
                RMSprop {
                    momentum: 0.7,
                    lr_in_momentum: true,
                    initial_square_avg: 1.0,
                    eps_in_sqrt: true
                },
            ]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |rule| if has_momentum(rule) { [0.005, 5e-4] } else { [0.05, 5e-3] },
        drifts: |rule| {
            let fits = [2e-3, 2e-3, 1.2e-4, 1.5e-8, 1e-4, 3e-7];
            if is_centered(rule) { [1.0, 0.4, 1e-4, 1.5e-8, 1e-4, 1e-7] } else { fits }
        },
        golden: Golden {
            cases: &[
                "rmsprop",
                "rmsprop_centered",
                "rmsprop_centered_momentum",
                "rmsprop_eps_inside",
                "rmsprop_momentum",
            ],
            rule: |h| {
                let decay = h.number("decay", 0.99);
                RMSprop {
                    lr: h.lr(),
                    alpha: h.number("alpha", decay),
                    eps: h.number("eps", 1e-8),
                    weight_decay: h.number("weight_decay", 0.0),
                    momentum: h.number("momentum", 0.0),
                    keep_momentum_buffer: false,
                    lr_in_momentum: false,
                    initial_square_avg: 0.0,
                    centered: h.flag("centered"),
                    eps_in_sqrt: h.flag("eps_in_sqrt"),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            states: &[["nu", "square_avg"]],
            ..PYTORCH
        },
    },
    Facts {
        name: "rprop",
        variants: || rules![Rprop {}],
        changed: || {
            rules![Rprop { lr: 0.3, etas: (0.3, 1.7), step_sizes: (0.2, 0.7), maximize: true }]
        },
        tolerance: SUMS,
        rates: |_| [0.1, 0.05],
        drifts: |_| [5e-8, 5e-8, 1e-7, 3e-2, 1e-6, 1.5e-6],
        golden: Golden {
            cases: &["rprop"],
            rule: |h| Rprop { lr: h.lr(), ..Default::default() }.into(),
            ..PYTORCH
        },
    },
    Facts {
        name: "schedulefreeadamw",
        variants: || rules![ScheduleFreeAdamW {}],
        changed: || {
            rules![
                ScheduleFreeAdamW {
                    lr: 0.3,
                    betas: BETAS,
                    eps: 1e-3,
                    weight_decay: 0.1,
                    maximize: true
                },
                ScheduleFreeAdamW { warmup_steps: 5.0, r: 0.5, weight_lr_power: 0.0 },
                ScheduleFreeAdamW { warmup_steps: 1e6, weight_lr_power: 1.7 },
            ]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |_| [0.5, 0.1],
        drifts: |_| [1.2e-3, 1.5e-3, 4e-4, 3e-9, 5e-5, 7e-7],
        golden: Golden {
            cases: &["sf_adamw", "sf_adamw_warmup"],
            rule: |h| {
                ScheduleFreeAdamW {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    warmup_steps: h.number("warmup_steps", 0.0),
                    weight_decay: h.number("weight_decay", 0.0),
                    r: h.number("r", 0.0),
                    weight_lr_power: h.number("weight_lr_power", 2.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "schedulefreeradam",
        variants: || rules![ScheduleFreeRAdam {}],
        changed: || {
            rules![
                ScheduleFreeRAdam {
                    lr: 0.3,
                    betas: BETAS,
                    eps: 1e-3,
                    weight_decay: 0.1,
                    maximize: true
                },
                ScheduleFreeRAdam {
                    betas: (0.8, 0.5),
                    silent_sgd_phase: false,
                    weight_lr_power: 1.0
                },
                ScheduleFreeRAdam { r: 0.25 },
            ]
        },
        tolerance: SUMMED_QUOTIENT,
        rates: |_| [2.0, 0.3],
        drifts: |_| [9e-4, 1.3e-3, 2.5e-4, 2.5e-7, 4.5e-5, 2.5e-7],
        golden: Golden {
            cases: &["sf_radam"],
            rule: |h| {
                ScheduleFreeRAdam {
                    lr: h.lr(),
                    betas: h.betas((0.9, 0.999)),
                    eps: h.number("eps", 1e-8),
                    silent_sgd_phase: h.flag_or("silent_sgd_phase", true),
                    weight_decay: h.number("weight_decay", 0.0),
                    r: h.number("r", 0.0),
                    weight_lr_power: h.number("weight_lr_power", 2.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "schedulefreesgd",
        variants: || rules![ScheduleFreeSGD {}],
        changed: || {
            rules![
                ScheduleFreeSGD { lr: 0.3, momentum: 0.5, weight_decay: 0.1, maximize: true },
                ScheduleFreeSGD { warmup_steps: 5.0, r: 0.5, weight_lr_power: 1.5 },
            ]
        },
        tolerance: SUMS,
        rates: |_| [0.15, 0.15],
        drifts: |_| [2.8e-3, 2.2e-3, 1.3e-4, 1.6e-8, 2.4e-4, 2.5e-6],
        golden: Golden {
            cases: &["sf_sgd"],
            rule: |h| {
                ScheduleFreeSGD {
                    lr: h.lr(),
                    momentum: h.number("momentum", 0.9),
                    warmup_steps: h.number("warmup_steps", 0.0),
                    weight_decay: h.number("weight_decay", 0.0),
                    r: h.number("r", 0.0),
                    weight_lr_power: h.number("weight_lr_power", 2.0),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
    Facts {
        name: "sgd",
        variants: || rules![SGD {}, SGD { momentum: 0.9 }, SGD { momentum: 0.9, nesterov: true }],
        changed: || {
            rules![
                SGD { lr: 0.3, weight_decay: 0.1, maximize: true },
                SGD { lr: 0.3, momentum: 0.7, dampening: 0.4, maximize: true },
                SGD { momentum: 0.7, weight_decay: 0.1, nesterov: true },
                SGD { keep_momentum_buffer: true, dampening: 0.4 },
            ]
        },
        tolerance: SUMS,
        rates: |rule| if has_momentum(rule) { [0.01, 3e-2] } else { [0.1, 0.15] },
        drifts: |_| [0.5, 4e-2, 6e-2, 1.2e-5, 4e-2, 4e-5],
        golden: Golden {
            cases: &["sgd", "sgd_dampening", "sgd_momentum", "sgd_nesterov"],
            rule: |h| {
                SGD {
                    lr: h.lr(),
                    momentum: h.number("momentum", 0.0),
                    keep_momentum_buffer: false,
                    dampening: h.number("dampening", 0.0),
                    weight_decay: h.number("weight_decay", 0.0),
                    nesterov: h.flag("nesterov"),
                    maximize: h.flag("maximize"),
                }
                .into()
            },
            ..PYTORCH
        },
    },
];

fn has_momentum(rule: &dyn DynRule) -> bool {
    rule.states().iter().any(|state| state.name == "momentum_buffer")
}

fn is_centered(rule: &dyn DynRule) -> bool {
    rule.states().iter().any(|state| state.name == "grad_avg")
}
