//! The facts that tests share are those of the crate's rules, and cover what they say.

use crate::common::facts::{FACTS, Facts, Rules};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use wgpu_optim::DynRule;
use wgpu_optim::rules::all;

#[test]
fn there_is_a_row_for_each_rule_and_no_other() {
    let rows: Vec<_> = FACTS.iter().map(|facts| facts.name).collect();
    let rules: Vec<_> = all().iter().map(|rule| rule.name()).collect();
    assert_eq!(rows, rules, "rows of tests/suite/common/facts.rs and rules of src/rules/mod.rs");
    for (facts, default) in FACTS.iter().zip(all()) {
        let of_row = (facts.variants)().into_iter().chain((facts.changed)());
        assert!(of_row.map(|rule| rule.name()).all(|name| name == facts.name), "{}", facts.name);
        let first = &(facts.variants)()[0];
        assert_eq!(format!("{first:?}"), format!("{default:?}"), "the first variant");
    }
}

/// Every option is there switched on and switched off, and no two variants are the same kernel.
#[test]
fn variants_set_every_option_both_ways() {
    for Facts { name, variants, .. } in FACTS {
        let variants = variants();
        let options: Vec<_> = variants.iter().map(|rule| rule.options()).collect();
        for (k, (option, _)) in options[0].iter().enumerate() {
            let values: BTreeSet<_> = options.iter().map(|of_variant| of_variant[k].1).collect();
            assert_eq!(values.len(), 2, "{name}: a variant with and one without {option}");
        }
        let different: BTreeSet<_> = options.iter().collect();
        assert_eq!(different.len(), variants.len(), "{name}: two variants are one");
    }
}

/// A rule's fields and their values, as `Debug` prints them.
fn fields(rule: &dyn DynRule) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut last = String::new();
    for line in format!("{rule:#?}").lines() {
        match line.strip_prefix("    ").filter(|line| line.starts_with(char::is_alphabetic)) {
            Some(line) => {
                let (name, value) = line.split_once(": ").expect("a field");
                last = name.to_owned();
                fields.insert(last.clone(), value.to_owned());
            }
            // A field's value goes on, as a pair's does.
            None => fields.entry(last.clone()).or_default().push_str(line.trim()),
        }
    }
    fields.remove("");
    fields
}

/// The fields that no case changes.
fn unchanged(default: &dyn DynRule, cases: &Rules) -> Vec<String> {
    let changes = |name: &String, value: &String| {
        cases.iter().any(|case| fields(case.as_ref()).get(name) != Some(value))
    };
    let fields = fields(default).into_iter();
    fields.filter(|(name, value)| !changes(name, value)).map(|(name, _)| name).collect()
}

#[test]
fn every_field_of_every_rule_is_changed_in_some_case() {
    for (facts, default) in FACTS.iter().zip(all()) {
        let mut cases = (facts.variants)();
        assert!(!unchanged(default.as_ref(), &cases).is_empty(), "{}: the search", facts.name);
        cases.extend((facts.changed)());
        let unchanged = unchanged(default.as_ref(), &cases);
        assert!(unchanged.is_empty(), "{}: no case changes {unchanged:?}", facts.name);
    }
}

#[test]
fn fields_are_read_as_they_are_printed() {
    let rule = wgpu_optim::Adam { betas: (0.5, 0.25), ..Default::default() };
    let fields = fields(&rule);
    assert_eq!(fields.len(), 7, "{fields:?}");
    assert_eq!((&*fields["lr"], &*fields["betas"]), ("0.001,", "(0.5,0.25,),"));
}
