//! Each command on files of a small run.

use crate::convert::{Formats, ParamFormat, StateFormat, convert};
use crate::{compare::compare, list::list};
use std::path::PathBuf;
use wgpu_optim::{AdamW, CpuOptimizer, GradScaler, SGD};

/// A file in a folder of the system's, gone at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("checkpoint-{}-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(steps: u32) -> CpuOptimizer<f32> {
    let mut optimizer = CpuOptimizer::builder()
        .group(AdamW::default(), [("w", [64, 65])])
        .group(SGD { momentum: 0.9, ..Default::default() }, [("b", [65])])
        .clip_grad_norm(1.0)
        .grad_scaler(GradScaler::constant(1.0))
        .build()
        .expect("built");
    for step in 0..steps {
        let grad: Vec<_> = (0..64 * 65).map(|k| ((k + step) % 11) as f32 - 5.0).collect();
        optimizer.set_grad("w", &grad).expect("set");
        optimizer.set_grad("b", &grad[..65]).expect("set");
        optimizer.step().expect("stepped");
    }
    optimizer
}

#[test]
fn a_listing_has_groups_and_arrays() {
    let file = Temporary::new("list");
    run(2).save().user("epoch", "2").file(&file.0).expect("saved");
    let text = list(&file.0).expect("listed");
    for expected in [
        "group 0: adamw of 1 parameters",
        "betas (0.9, 0.999)",
        "group 1: sgd",
        "loss scale 1",
        "user.epoch: 2",
        "state.w.exp_avg_sq",
        "[64, 65]",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn a_comparison_tells_what_differs() {
    let [first, second] = ["first", "second"].map(Temporary::new);
    run(2).save().file(&first.0).expect("saved");
    run(2).save().file(&second.0).expect("saved");
    assert_eq!(compare(&first.0, &second.0).expect("compared"), ("The same.".into(), true));
    let mut other = run(3);
    other.set_lr(0, 0.5).expect("set");
    other.save().file(&second.0).expect("saved");
    let (text, is_same) = compare(&first.0, &second.0).expect("compared");
    assert!(!is_same);
    for expected in ["w: lr 0.001 or 0.5", "state.w.exp_avg ", "state.b.step", "at most 1.000e0"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

/// There and back: bf16 with its remainder is exact, and 8 bits are nearly so.
#[test]
fn formats_are_converted_there_and_back() {
    let [whole, small, back] = ["whole", "small", "back"].map(Temporary::new);
    run(3).save().user("epoch", "2").file(&whole.0).expect("saved");
    let to = |format, states| Formats { format, states };
    let exact = to(ParamFormat::Bf16, StateFormat::F32);
    convert(&whole.0, &small.0, &exact).expect("converted");
    convert(&small.0, &back.0, &to(ParamFormat::F32, StateFormat::F32)).expect("converted");
    assert_eq!(compare(&whole.0, &back.0).expect("compared"), ("The same.".into(), true));
    let small_states = to(ParamFormat::F16, StateFormat::Block8);
    let text = convert(&whole.0, &small.0, &small_states).expect("converted");
    assert!(text.contains("KiB of"), "{text}");
    assert!(list(&small.0).expect("listed").contains("state.w.exp_avg.absmax"));
}
