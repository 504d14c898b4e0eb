//! Loading that is less than strict, as far as it was asked for.

use super::run::{Order, Story, start};
use crate::common::steps::Steps as _;
use wgpu_optim::{Adam, AdamW, Cpu, CpuOptimizer, Error, Format, GradScaler, Storage};

fn trained(params: &[(&str, Vec<usize>)]) -> CpuOptimizer<f32> {
    let params = params.iter().map(|(name, shape)| (*name, shape.clone()));
    let mut optimizer: CpuOptimizer<f32> =
        CpuOptimizer::builder().group(Adam::default(), params).build().expect("built");
    let names: Vec<_> = optimizer.params().map(|p| (p.name.to_owned(), p.elements)).collect();
    for (name, elements) in names {
        let values: Vec<_> = (0..elements).map(|k| 1.0 + k as f32).collect();
        optimizer.set_param(&*name, &values).expect("set");
        optimizer.set_grad(&*name, &values).expect("set");
    }
    optimizer.step().expect("stepped");
    optimizer
}

#[test]
fn missing_parameters_stay_as_they_are() {
    let saved = trained(&[("a", vec![2])]).save().bytes().expect("saved");
    let mut other = trained(&[("a", vec![2]), ("b", vec![3])]);
    other.set_lr(0, 0.5).expect("set");
    assert!(other.load().bytes(&saved).is_err());
    let b = other.param("b").expect("there").to_vec();
    let loaded = other.load().allow_missing().bytes(&saved).expect("loaded");
    assert_eq!((loaded.parameters, loaded.missing), (vec!["a".into()], vec!["b".into()]));
    assert_eq!(other.param("b").expect("there").to_vec(), b);
    assert_eq!(other.rule(0).expect("there").lr(), 1e-3);
}

#[test]
fn what_is_beyond_is_ignored_on_demand() {
    let saved = trained(&[("a", vec![2]), ("b", vec![3])]).save().bytes().expect("saved");
    let mut other = trained(&[("a", vec![2])]);
    assert!(other.load().bytes(&saved).is_err());
    let loaded = other.load().allow_unexpected().bytes(&saved).expect("loaded");
    assert_eq!((loaded.parameters, loaded.unexpected), (vec!["a".into()], vec!["b".into()]));
}

#[test]
fn names_are_changed_on_the_way() {
    let saved = trained(&[("module.a", vec![2])]).save().bytes().expect("saved");
    let mut other = trained(&[("a", vec![2])]);
    other.set_steps("a", 50).expect("set");
    let refused = other.load().bytes(&saved).expect_err("another name").to_string();
    assert!(refused.contains("`rename`"), "{refused}");
    other.load().rename(|name| name.replace("module.", "")).bytes(&saved).expect("loaded");
    assert_eq!(other.steps("a"), Ok(1));
    let both = trained(&[("module.a", vec![2]), ("a", vec![2])]).save().bytes().expect("saved");
    let renamed = other.load().rename(|name| name.replace("module.", "")).bytes(&both);
    assert!(renamed.is_err(), "two parameters became one");
}

#[test]
fn matrices_are_transposed() {
    let saved = trained(&[("w", vec![2, 3])]).save().grads().bytes().expect("saved");
    let mut other = trained(&[("w", vec![3, 2])]);
    let refused = other.load().bytes(&saved).expect_err("another shape").to_string();
    assert!(refused.contains("`transposed`"), "{refused}");
    assert!(other.load().transposed("w", [3, 2]).bytes(&saved).is_err(), "the file's is [2, 3]");
    other.load().transposed("w", [2, 3]).bytes(&saved).expect("loaded");
    assert_eq!(other.grad_mut("w").expect("there").to_vec(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let back = other.save().grads().bytes().expect("saved");
    let mut first = trained(&[("w", vec![2, 3])]);
    first.load().transposed("w", [3, 2]).bytes(&back).expect("loaded");
    assert!(first.save().grads().bytes().expect("saved") == saved);
}

#[test]
fn a_length_fits_every_shape_of_as_many_elements() {
    let saved = trained(&[("w", vec![2, 3])]).save().bytes().expect("saved");
    trained(&[("w", vec![6])]).load().bytes(&saved).expect("loaded");
    assert!(trained(&[("w", vec![7])]).load().bytes(&saved).is_err());
}

#[test]
fn parameters_are_left_to_others() {
    let mut optimizer = trained(&[("w", vec![2])]);
    let saved = optimizer.save().without_params().bytes().expect("saved");
    let whole = optimizer.save().bytes().expect("saved");
    let mut other = trained(&[("w", vec![2])]);
    other.set_param("w", &[7.0, 8.0]).expect("set");
    other.load().bytes(&saved).expect("loaded");
    assert_eq!(other.param("w").expect("there").to_vec(), [7.0, 8.0]);
    other.load().without_params().bytes(&whole).expect("loaded");
    assert_eq!(other.param("w").expect("there").to_vec(), [7.0, 8.0]);
    other.load().bytes(&whole).expect("loaded");
    assert_ne!(other.param("w").expect("there").to_vec(), [7.0, 8.0]);
}

/// No name collides with a key.
#[test]
fn any_name_is_saved() {
    let names = ["", "__metadata__", "a", "a.exp_avg", "a.step", "a.exp_avg.absmax", "\"\\\n", "ü"];
    let build = || -> CpuOptimizer<f32> {
        let params = names.iter().zip(1usize..).map(|(&name, len)| (name, len * 300));
        let storage = Storage::f32().states(Format::Block8).min_block8(700);
        let builder = CpuOptimizer::builder().group(Adam::default(), params);
        builder.storage("*", storage).build().expect("built")
    };
    let mut optimizer = build();
    for (name, len) in names.iter().zip(1usize..) {
        let grad: Vec<_> = (0..300 * len).map(|k| (k % 7) as f32 - 3.0).collect();
        optimizer.set_grad(*name, &grad).expect("set");
    }
    optimizer.step().expect("stepped");
    let saved = optimizer.save().grads().bytes().expect("saved");
    let mut other = build();
    other.load().bytes(&saved).expect("loaded");
    assert!(other.save().grads().bytes().expect("saved") == saved);
}

/// A tracker beyond the interval would never let the scale grow.
#[test]
fn a_tracker_beyond_the_interval_is_refused() {
    let scaled = |growth_interval| -> CpuOptimizer<f32> {
        let builder = CpuOptimizer::builder().group(Adam::default(), [("a", 2)]);
        let scaler = GradScaler { growth_interval, ..Default::default() };
        builder.grad_scaler(scaler).build().expect("built")
    };
    let mut optimizer = scaled(10);
    (0..7).for_each(|_| optimizer.step().expect("stepped"));
    let saved = optimizer.save().bytes().expect("saved");
    let refused = scaled(5).load().keep_hyperparameters().bytes(&saved).expect_err("7 of 5");
    assert!(refused.to_string().contains("_growth_tracker"), "{refused}");
    let mut other = scaled(5);
    other.load().bytes(&saved).expect("the interval is the file's");
    assert_eq!(other.snapshot().expect("told").scaler, optimizer.snapshot().expect("told").scaler);
}

/// A damaged number is loaded where nobody compares checksums, and seen otherwise.
#[test]
fn checksums_are_compared_unless_told_otherwise() {
    let mut optimizer = trained(&[("w", vec![2])]);
    let mut saved = optimizer.save().bytes().expect("saved");
    let header = u64::from_le_bytes(saved[..8].try_into().expect("8 bytes")) as usize;
    // The step count comes first, then the parameter.
    let param = optimizer.param("w").expect("there")[0];
    assert_eq!(saved[8 + header + 4..][..4], param.to_le_bytes());
    saved[8 + header + 4] ^= 1;
    assert!(optimizer.load().bytes(&saved).expect_err("damaged").to_string().contains("CRC-32"));
    optimizer.load().skip_checksum().bytes(&saved).expect("loaded");
    assert_eq!(optimizer.param("w").expect("there")[0].to_bits(), param.to_bits() ^ 1);
}

/// A group that gathers parameters with different hyperparameters has none of its own to take.
#[test]
fn groups_that_contradict_are_refused() {
    let mut apart: CpuOptimizer<f32> = CpuOptimizer::builder()
        .group(AdamW::default(), [("a", 2)])
        .group(AdamW { weight_decay: 0.0, ..Default::default() }, [("b", 2)])
        .build()
        .expect("built");
    let saved = apart.save().bytes().expect("saved");
    let build = || -> CpuOptimizer<f32> {
        let builder = CpuOptimizer::builder();
        builder.group(AdamW::default(), [("a", 2), ("b", 2)]).build().expect("built")
    };
    let refused = build().load().bytes(&saved).expect_err("two decays").to_string();
    assert!(refused.contains("`a` and `b` with different ones"), "{refused}");
    build().load().keep_hyperparameters().bytes(&saved).expect("loaded");
}

#[test]
fn a_scale_is_there_on_both_sides_or_on_none() {
    let scaled = || -> CpuOptimizer<f32> {
        let builder = CpuOptimizer::builder().group(Adam::default(), [("a", 2)]);
        builder.grad_scaler(GradScaler::default()).build().expect("built")
    };
    let plain = || trained(&[("a", vec![2])]);
    let [with, without] =
        [scaled().save().bytes(), plain().save().bytes()].map(|s| s.expect("saved"));
    assert!(scaled().load().bytes(&without).is_err());
    assert!(plain().load().bytes(&with).is_err());
    scaled().load().allow_missing().keep_hyperparameters().bytes(&without).expect("loaded");
    plain().load().allow_unexpected().keep_hyperparameters().bytes(&with).expect("loaded");
}

#[test]
fn clipping_is_the_files_or_refused() {
    let clipped = |norm| -> CpuOptimizer<f32> {
        let builder = CpuOptimizer::builder().group(Adam::default(), [("a", 2)]);
        builder.clip_grad_norm(norm).build().expect("built")
    };
    let saved = clipped(0.5).save().bytes().expect("saved");
    let mut other = clipped(2.0);
    other.load().bytes(&saved).expect("loaded");
    let told = other.snapshot().expect("told").control.clip_grad_norm;
    assert_eq!(told, Some(("l2".into(), 0.5)));
    let refused = trained(&[("a", vec![2])]).load().bytes(&saved).expect_err("not clipped");
    assert!(refused.to_string().contains("clipping by l2 norm"), "{refused}");
}

/// A source that fails half-way leaves an optimizer that refuses to step until a load succeeds.
#[test]
fn half_a_checkpoint_takes_no_step() {
    struct Failing(std::io::Cursor<Vec<u8>>, usize);
    impl std::io::Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.1 == 0 {
                return Err(std::io::Error::other("the disk is gone"));
            }
            self.1 -= 1;
            self.0.read(into)
        }
    }
    impl std::io::Seek for Failing {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    let mut optimizer = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
    start(&mut optimizer);
    Story::Plain.go(&mut optimizer, 0..3);
    let saved = optimizer.save().bytes().expect("saved");
    let mut refused_steps = 0;
    for reads in 0.. {
        let mut other = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
        let new = other.save().bytes().expect("saved");
        let source = Failing(std::io::Cursor::new(saved.clone()), reads);
        let Err(error) = other.load().reader(source) else { break };
        assert!(matches!(error, Error::File { .. }), "{error}");
        match other.step() {
            Ok(()) => {}
            Err(error) => {
                refused_steps += 1;
                assert!(error.to_string().contains("Load a checkpoint"), "{error}");
            }
        }
        other.load().bytes(&new).expect("loaded");
        other.load().bytes(&saved).expect("loaded");
        assert!(other.save().bytes().expect("saved") == saved);
        Cpu::step(&mut other);
    }
    assert!(refused_steps > 0, "no load failed half-way");
}
