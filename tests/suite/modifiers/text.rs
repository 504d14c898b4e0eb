//! What is not asked for is in no kernel, and what is asked for compiles in every kernel.

use crate::common::cases::{label, variants};
use crate::common::exact::coeffs_at;
use crate::common::limits::DEFAULTS;
use crate::shaders::check_translations;
use crate::shaders::list::{kernels, stored_kernels};
use wgpu_optim::internals::geometry::{Sharing, Transport};
use wgpu_optim::internals::pages::Slots;
use wgpu_optim::internals::{Extras, Formats, RuleKernel, rule_kernel, storage_buffers};
use wgpu_optim::{
    Adam, Average, Decay, DecayKind, DynRule, LAMB, Lookahead, Modifiers, SGD, Storage,
};

/// Everything that there is to ask for.
pub fn all() -> Modifiers {
    Modifiers {
        decay: Some(Decay::new(DecayKind::Decoupled, 0.1).cautious()),
        cautious: true,
        clip_update: Some(0.5),
        clip_grad_tensor: Some(1.0),
        bounds: Some((-1.25, 1.5)),
        average: Some(Average::ema(0.9)),
        lookahead: Some(Lookahead { k: 2, alpha: 0.5 }),
    }
}

/// Each modifier by itself, and all together.
pub fn each() -> Vec<Modifiers> {
    let (all, none) = (all(), Modifiers::default());
    vec![
        Modifiers { decay: all.decay, ..none },
        Modifiers { cautious: true, ..none },
        Modifiers { clip_update: all.clip_update, ..none },
        Modifiers { clip_grad_tensor: all.clip_grad_tensor, ..none },
        Modifiers { bounds: all.bounds, ..none },
        Modifiers { average: all.average, ..none },
        Modifiers { lookahead: all.lookahead, ..none },
        all,
    ]
}

/// What a kernel's text has if something modifies its rule.
const WORDS: [&str; 7] = [
    "odified",
    "Numbers",
    "state_average",
    "state_slow",
    "grad_totals",
    "update_totals",
    "held_to",
];

fn text(rule: &dyn DynRule, kernel: RuleKernel) -> String {
    let linked = rule_kernel(rule, kernel, &DEFAULTS);
    linked.unwrap_or_else(|error| panic!("{} {kernel:?}: {error}", label(rule))).text
}

/// Decay everywhere, of any kind, is a number that every kernel has.
#[test]
fn what_is_not_asked_for_is_in_no_kernel() {
    let decay = Some(Decay::new(DecayKind::Fixed, 0.0));
    for rule in variants() {
        let plain = Modifiers::default().on(rule.boxed());
        let decays = Modifiers { decay, ..Modifiers::default() }.on(rule.boxed());
        assert_eq!(coeffs_at(plain.as_ref(), 3), coeffs_at(rule.as_ref(), 3), "{rule:?}");
        for kernel in kernels(rule.as_ref()) {
            let own = text(rule.as_ref(), kernel);
            assert_eq!(text(plain.as_ref(), kernel), own, "{rule:?}");
            assert_eq!(text(decays.as_ref(), kernel), own, "{rule:?}");
            for word in WORDS {
                assert!(!own.contains(word), "{rule:?} {kernel:?} has `{word}`");
            }
        }
    }
}

/// The members of a struct of a linked text.
fn members(text: &str, name: &str) -> Vec<String> {
    let module = naga::front::wgsl::parse_str(text).expect("parsed");
    let found = module.types.iter().find_map(|(_, ty)| match &ty.inner {
        naga::TypeInner::Struct { members, .. } if ty.name.as_deref() == Some(name) => {
            Some(members.iter().filter_map(|member| member.name.clone()).collect())
        }
        _ => None,
    });
    found.unwrap_or_default()
}

#[test]
fn every_kernel_of_every_modifier_translates_and_has_the_hosts_numbers() {
    let rules: [Box<dyn DynRule>; 3] =
        [Adam::default().into(), LAMB::default().into(), SGD::default().into()];
    for rule in rules {
        for modifiers in each() {
            let rule = modifiers.on(rule.boxed());
            let few = kernels(rule.as_ref()).into_iter().step_by(41);
            for kernel in few.chain(stored_kernels(rule.as_ref()).into_iter().step_by(31)) {
                let name = format!("{} {kernel:?}", label(rule.as_ref()));
                let shader = rule_kernel(rule.as_ref(), kernel, &DEFAULTS).expect("linked");
                check_translations(&name, &shader);
                let found = members(&shader.text, "Numbers");
                let is_sum_of_grads = shader.text.contains("The squares of each tensor's gradient");
                let expected = if is_sum_of_grads { Vec::new() } else { rule.modifier_coeffs() };
                assert_eq!(found, expected, "{name}");
            }
        }
    }
}

/// The rules' own functions have no names that modifiers use.
#[test]
fn every_rule_takes_every_modifier() {
    for rule in variants() {
        let rule = all().on(rule);
        let formats = Formats::of(&Storage::f32(), rule.as_ref());
        for pass in rule.passes() {
            let (transport, slots) = (Transport::Vec4, Slots::One);
            let kernel = match pass {
                wgpu_optim::Pass::Update => RuleKernel::Update {
                    transport,
                    slots,
                    sharing: Sharing::Apart,
                    extras: Extras::default(),
                    formats,
                    narrow: false,
                },
                pass => {
                    let exchange = wgpu_optim::internals::geometry::Exchange::Memory;
                    RuleKernel::Sum { pass, transport, slots, clamp: false, exchange, formats }
                }
            };
            text(rule.as_ref(), kernel);
        }
    }
}

/// A cautious Adam with an average is within what every WebGPU device binds.
#[test]
fn cautious_adam_with_an_average_fits_default_limits() {
    let modifiers =
        Modifiers { cautious: true, average: Some(Average::ema(0.9)), ..Modifiers::default() };
    let rule = modifiers.on(Adam::default());
    for kernel in kernels(rule.as_ref()) {
        let without_statistics = matches!(
            kernel,
            RuleKernel::Update { extras: Extras { statistics: None, .. }, .. }
                | RuleKernel::Sum { .. }
        );
        let shader = rule_kernel(rule.as_ref(), kernel, &DEFAULTS).expect("linked");
        let most = DEFAULTS.max_storage_buffers_per_shader_stage;
        assert!(!without_statistics || storage_buffers(&shader.bindings) <= most, "{kernel:?}");
    }
}
