//! The rules, and the one list of them. Tests, benches and the README's table walk [`all`].

use crate::rule::{DynRule, Rule};

/// Declares the rules' modules (each with its twin in `shaders/rules`), re-exports their types and
/// makes the list.
macro_rules! rules {
    ($($module:ident: $($rule:ident),+;)+) => {
        $(
            mod $module;
            pub use $module::{$($rule),+};
        )+

        /// Every rule, once for each way its options can be set.
        pub fn all() -> Vec<Box<dyn DynRule>> {
            let mut all: Vec<Box<dyn DynRule>> = Vec::new();
            $($(all.extend($rule::variants().iter().map(DynRule::boxed));)+)+
            all
        }
    };
}

rules! {
    adabelief: AdaBelief;
    adadelta: Adadelta;
    adagrad: Adagrad;
    adam: Adam, AdamW;
    adamax: Adamax;
    lamb: LAMB;
    lars: LARS;
    lion: Lion;
    nadam: NAdam;
    radam: RAdam;
    rmsprop: RMSprop;
    rprop: Rprop;
    sgd: SGD;
}

/// A WGSL rule file, by its stem.
macro_rules! wgsl {
    ($stem:literal) => {
        include_str!(concat!("../../shaders/rules/", $stem, ".wgsl"))
    };
}
use wgsl;
