//! Every kernel that there is: what compilers are tried with, naga's and a browser's.

use crate::common::cases::{label, variants};
use crate::common::limits::DEFAULTS;
use wgpu_optim::internals::geometry::{Exchange, Sharing, Transport};
use wgpu_optim::internals::pages::Slots;
use wgpu_optim::internals::{
    Codec, Extras, Fixed, Formats, RuleKernel, Shader, SumOf, fixed, rule_kernel,
};
use wgpu_optim::{Adam, Average, DynRule, Format, LAMB, Modifiers, Pass, Rounding, Storage};

/// Everything that an update may do beside updating, in every combination.
fn extras() -> impl Iterator<Item = Extras> {
    let statistics = Exchange::ALL.map(Some).into_iter().chain([None]);
    statistics.flat_map(|statistics| {
        (0..8).map(move |bits| Extras {
            clamp: bits & 1 != 0,
            skip: bits & 2 != 0,
            zero_grad: bits & 4 != 0,
            statistics,
        })
    })
}

/// How a rule's kernels reach elements and coefficients.
fn reached() -> impl Iterator<Item = (Transport, Slots)> {
    let with = |transport| Slots::ALL.map(|slots| (transport, slots));
    Transport::ALL.into_iter().flat_map(with)
}

/// The passes of a rule that add something up.
fn sum_passes(rule: &dyn DynRule) -> impl Iterator<Item = Pass> {
    rule.passes().into_iter().filter(|pass| *pass != Pass::Update)
}

/// Every kernel of a rule with all in f32.
pub fn kernels(rule: &dyn DynRule) -> Vec<RuleKernel> {
    let formats = Formats::f32(rule.states().len());
    let mut kernels = Vec::new();
    for (transport, slots) in reached().filter(|(transport, _)| *transport != Transport::Shared) {
        for extras in extras() {
            // Narrow kernels keep no sums.
            let narrow = extras.statistics.is_none() && slots == Slots::Many;
            let of =
                |sharing| RuleKernel::Update { transport, slots, sharing, extras, formats, narrow };
            kernels.extend(Sharing::ALL.map(of));
        }
        for pass in sum_passes(rule) {
            for exchange in Exchange::ALL {
                let of =
                    |clamp| RuleKernel::Sum { pass, transport, slots, clamp, exchange, formats };
                kernels.extend([false, true].map(of));
            }
        }
    }
    kernels
}

/// Every way to keep a parameter, with every format of gradients and states.
fn storages() -> Vec<Storage> {
    const SEED: u32 = 1;
    let kept = [
        Storage::f32(),
        Storage::f16(Rounding::Nearest),
        Storage::f16(Rounding::Master),
        Storage::f16(Rounding::Kahan),
        Storage::bf16(Rounding::Nearest),
        Storage::bf16(Rounding::Stochastic { seed: SEED }),
        Storage::bf16(Rounding::Master),
        Storage::bf16(Rounding::Remainder),
        Storage::bf16(Rounding::Kahan),
    ];
    let formats = [Format::F32, Format::F16, Format::Bf16, Format::Block8, Format::Companded8];
    let with = |storage: &Storage| {
        let of = |grads, states| storage.clone().grads(grads).states(states).min_block8(0);
        let each = |grads| formats.map(|states| of(grads, states));
        formats[..3].iter().flat_map(|&grads| each(grads)).collect::<Vec<_>>()
    };
    kept.iter().flat_map(with).collect()
}

/// The kernels of a rule in every format, with all and with nothing beside.
pub fn stored_kernels(rule: &dyn DynRule) -> Vec<RuleKernel> {
    let slots = Slots::One;
    let statistics = Some(Exchange::Memory);
    let all = Extras { clamp: true, skip: true, zero_grad: true, statistics };
    let (clamp, exchange) = (true, Exchange::Subgroups);
    let mut kernels = Vec::new();
    for formats in storages().iter().map(|storage| Formats::of(storage, rule)) {
        for transport in Transport::ALL {
            let halves = [formats.param, formats.grad].map(|codec| codec.bytes(1) == 2);
            let (none, mixed) = (Extras::default(), Sharing::Mixed);
            let cases =
                [(Sharing::Apart, none), (Sharing::Ranges, all), (mixed, none), (mixed, all)];
            let cases =
                cases.iter().filter(|(sharing, _)| sharing.has_transport(transport, halves));
            kernels.extend(cases.map(|&(sharing, extras)| {
                let apart = sharing == Sharing::Apart;
                let narrow = apart && !formats.has_blocks() && formats.has_halves();
                RuleKernel::Update { transport, slots, sharing, extras, formats, narrow }
            }));
            for pass in sum_passes(rule) {
                kernels.push(RuleKernel::Sum { pass, transport, slots, clamp, exchange, formats });
            }
        }
    }
    kernels
}

/// Names a kernel that is the same for every rule.
fn named(kernel: Fixed) -> (String, Shader) {
    match kernel {
        // A new one must be among the small shaders or those over blocks.
        Fixed::Measure { .. } | Fixed::AddUp(_) | Fixed::Gather => {}
        Fixed::Decide | Fixed::Grow | Fixed::Table { .. } | Fixed::Zero { .. } => {}
        Fixed::Swap { .. } => {}
    }
    (format!("{kernel:?}"), fixed(kernel))
}

/// What is dispatched once a step, or less often, and may loop.
pub fn small_shaders() -> impl Iterator<Item = (String, Shader)> {
    let tables = [false, true]
        .into_iter()
        .flat_map(|tensors| [false, true].map(|origins| Fixed::Table { tensors, origins }));
    tables.chain([Fixed::Gather, Fixed::Decide, Fixed::Grow]).map(named)
}

/// The kernels over blocks that are the same for every rule: those that measure, those that add up,
/// and those that zero.
fn fixed_shaders() -> impl Iterator<Item = (String, Shader)> {
    let codecs = [Codec::F32, Codec::F16, Codec::Bf16];
    let measure = move |transport| {
        let of = move |exchange| codecs.map(|codec| Fixed::Measure { transport, exchange, codec });
        [None].into_iter().chain(Exchange::ALL.map(Some)).flat_map(of)
    };
    let measures = Transport::ALL.into_iter().flat_map(measure);
    let sums = (1..=4).map(SumOf::Sums).chain([SumOf::Measures]).map(Fixed::AddUp);
    let zero = Transport::ALL
        .into_iter()
        .flat_map(move |transport| codecs.map(|codec| Fixed::Zero { transport, codec }));
    measures.chain(sums).chain(zero).chain(swaps([Storage::f32()])).map(named)
}

/// The exchange of parameters and averages of these storages.
fn swaps(storages: impl IntoIterator<Item = Storage>) -> impl Iterator<Item = Fixed> {
    let average = Average::ema(0.5);
    let rule = Modifiers { average: Some(average), ..Modifiers::default() }.on(Adam::default());
    let of = move |storage: Storage| {
        let formats = Formats::of(&storage, rule.as_ref());
        let average = rule.own().states().len();
        Transport::ALL.map(|transport| Fixed::Swap { transport, formats, average })
    };
    storages.into_iter().flat_map(of)
}

/// Every kernel over blocks: of every rule and option, and those that are the same for all.
pub fn shaders() -> impl Iterator<Item = (String, Shader)> {
    let of_rule = |rule: Box<dyn DynRule>| {
        let kernels = kernels(rule.as_ref());
        let link = move |kernel| {
            let name = format!("{} {kernel:?}", label(rule.as_ref()));
            let shader = rule_kernel(rule.as_ref(), kernel, &DEFAULTS).expect("linked");
            (name, shader)
        };
        kernels.into_iter().map(link)
    };
    fixed_shaders().chain(variants().into_iter().flat_map(of_rule))
}

/// The kernels of two rules in every format: one without sums and one with.
pub fn stored_shaders() -> impl Iterator<Item = (String, Shader)> {
    let rules: [Box<dyn DynRule>; 2] = [Adam::default().into(), LAMB::default().into()];
    let swaps = swaps(storages().into_iter().step_by(4)).map(named);
    swaps.chain(rules.into_iter().flat_map(|rule| {
        let kernels = stored_kernels(rule.as_ref());
        let link = move |kernel| {
            let name = format!("{} {kernel:?}", label(rule.as_ref()));
            (name, rule_kernel(rule.as_ref(), kernel, &DEFAULTS).expect("linked"))
        };
        kernels.into_iter().map(link)
    }))
}
