//! The cases, by name, for either commit.

use crate::gpu::Gpu;

/// What is timed: a function that does it once and returns its time in `unit`.
pub struct Case {
    pub run: Box<dyn FnMut() -> f64>,
    pub unit: &'static str,
}

pub const MILLISECONDS: &str = "ms";
pub const MICROSECONDS: &str = "us";
pub const ALLOCATIONS: &str = "  ";

#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Old,
    New,
}

pub const OLD: Side = Side::Old;
pub const NEW: Side = Side::New;

/// Of the commit.
mod old {
    use wgpu_optim_old as lib;
    mod api {
        use super::lib;
        include!("api_old.rs");
    }
    include!("subject.rs");
}

/// Of the working tree.
mod new {
    use wgpu_optim as lib;
    mod api {
        use super::lib;
        include!("api_new.rs");
    }
    include!("subject.rs");
}

/// Tensors: how many, and the elements of each.
const LARGE: &str = "1x8388608";
const MIDDLE: &str = "1000x4096";
const SMALL: &str = "1000x256";
const ONE: &str = "1x256";

/// What is measured, rule, shape, and control or placement.
pub fn names() -> Vec<String> {
    let mut names = Vec::new();
    let rules = ["adam", "adamw", "adagrad", "rmsprop", "sgd", "lamb", "lars"];
    for shape in [LARGE, MIDDLE] {
        names.extend(rules.map(|rule| format!("step {rule} {shape} arena")));
        for control in ["clip", "statistics", "separate", "offset"] {
            names.push(format!("step adam {shape} {control}"));
        }
    }
    for shape in [ONE, SMALL, MIDDLE] {
        for measured in ["record", "allocations", "move"] {
            names.push(format!("{measured} adam {shape} separate"));
        }
        for control in ["arena", "clip", "statistics"] {
            names.push(format!("record adam {shape} {control}"));
            names.push(format!("allocations adam {shape} {control}"));
        }
    }
    for rule in ["adam", "sgd"] {
        for control in ["arena", "clip", "statistics"] {
            names.push(format!("build {rule} {SMALL} {control}"));
        }
    }
    names.extend(rules.map(|rule| format!("cpu {rule} {MIDDLE} arena")));
    names
}

pub fn case(side: Side, name: &str, gpu: &Gpu) -> Case {
    match side {
        Side::Old => old::case(name, gpu),
        Side::New => new::case(name, gpu),
    }
}
