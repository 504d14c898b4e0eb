//! Schedules survive being saved.

use super::generated::{any_schedule, any_step};
use super::pytorch::{cases, difference, numbers, plateau};
use proptest::prelude::*;
use wgpu_optim::schedule::{CosineAnnealing, Schedule};

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("serialised");
    serde_json::from_str(&text).expect("deserialised")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_saved_schedule_keeps_its_bits(schedule in any_schedule(), step in any_step()) {
        let loaded = again(&schedule);
        // Rates are never -0 or NaN, so equal numbers are equal bits.
        prop_assert_eq!(&loaded, &schedule);
        prop_assert_eq!(loaded.lr(step).to_bits(), schedule.lr(step).to_bits());
    }
}

#[test]
fn a_saved_plateau_goes_on_where_it_was() {
    for case in cases().iter().filter(|case| case.get("metrics").is_some()) {
        let lr = case["lr"].as_f64().expect("a rate");
        let mut plateau = plateau(&case["scheduler"][1], lr);
        for (metric, lr) in numbers(&case["metrics"]).into_iter().zip(numbers(&case["lrs"])) {
            plateau = again(&plateau); // before the first metric too, when there is no best one
            assert_eq!(difference(&[plateau.observe(metric)], &[lr]), None);
        }
    }
}

#[test]
fn the_file_reads_as_the_code() {
    let cosine = CosineAnnealing { lr: 0.1, t_max: 90, eta_min: 0.001 };
    let text = serde_json::to_string(&Schedule::from(cosine).after_warm_up(0.01, 10));
    let expected = r#"{"WarmUp":{"start_factor":0.01,"total_iters":10,"schedule":{"CosineAnnealing":{"lr":0.1,"t_max":90,"eta_min":0.001}}}}"#;
    assert_eq!(text.expect("serialised"), expected);
}

#[test]
fn a_closure_cannot_be_saved() {
    let schedule = Schedule::custom(|_| 0.1).after_warm_up(0.0, 5);
    let error = serde_json::to_string(&schedule).expect_err("a closure").to_string();
    assert!(error.contains("Custom"), "{error}");
    assert!(serde_json::from_str::<Schedule>(r#"{"Custom":null}"#).is_err());
}
