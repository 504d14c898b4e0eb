//! Every linked shader is valid WGSL and translates to every language that wgpu speaks.

mod workgroup;

use crate::common::cases::{label, variants};
use crate::common::limits::DEFAULTS;
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};
use naga::{Module, ShaderStage};
use wgpu_optim::internals::geometry::{Exchange, Transport};
use wgpu_optim::internals::pages::Slots;
use wgpu_optim::internals::{
    Codec, Extras, Fixed, Formats, Group, RuleKernel, Shader, SumOf, fixed, rule_kernel,
    storage_buffers,
};
use wgpu_optim::{Adam, DynRule, Format, LAMB, Rounding, Storage};

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

/// Every kernel of a rule with all in f32.
fn kernels(rule: &dyn DynRule) -> Vec<RuleKernel> {
    let formats = Formats::f32(rule.states().len());
    let mut kernels = Vec::new();
    for (transport, slots) in reached().filter(|(transport, _)| *transport != Transport::Shared) {
        for extras in extras() {
            // Narrow kernels keep no sums.
            let narrow = extras.statistics.is_none() && slots == Slots::Many;
            let of =
                |shared| RuleKernel::Update { transport, slots, shared, extras, formats, narrow };
            kernels.extend([false, true].map(of));
        }
        if !rule.sums().is_empty() {
            for exchange in Exchange::ALL {
                let of = |clamp| RuleKernel::Sum { transport, slots, clamp, exchange, formats };
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
    let formats = [Format::F32, Format::F16, Format::Bf16, Format::Block8];
    let with = |storage: &Storage| {
        let of = |grads, states| storage.clone().grads(grads).states(states).min_block8(0);
        let each = |grads| formats.map(|states| of(grads, states));
        formats[..3].iter().flat_map(|&grads| each(grads)).collect::<Vec<_>>()
    };
    kept.iter().flat_map(with).collect()
}

/// The kernels of a rule in every format, with all and with nothing beside.
fn stored_kernels(rule: &dyn DynRule) -> Vec<RuleKernel> {
    let slots = Slots::One;
    let statistics = Some(Exchange::Memory);
    let all = Extras { clamp: true, skip: true, zero_grad: true, statistics };
    let (clamp, exchange) = (true, Exchange::Subgroups);
    let mut kernels = Vec::new();
    for formats in storages().iter().map(|storage| Formats::of(storage, rule)) {
        for transport in Transport::ALL {
            for (shared, extras) in [(false, Extras::default()), (true, all)] {
                let narrow = !shared && !formats.has_blocks() && formats.has_halves();
                let update =
                    RuleKernel::Update { transport, slots, shared, extras, formats, narrow };
                kernels.push(update);
            }
            if !rule.sums().is_empty() {
                kernels.push(RuleKernel::Sum { transport, slots, clamp, exchange, formats });
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
    }
    (format!("{kernel:?}"), fixed(kernel))
}

/// What is dispatched once a step, or less often, and may loop.
fn small_shaders() -> impl Iterator<Item = (String, Shader)> {
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
        Exchange::ALL.map(of).into_iter().flatten()
    };
    let measures = Transport::ALL.into_iter().flat_map(measure);
    let sums = (1..=4).map(SumOf::Sums).chain([SumOf::Measures]).map(Fixed::AddUp);
    let zero = Transport::ALL
        .into_iter()
        .flat_map(move |transport| codecs.map(|codec| Fixed::Zero { transport, codec }));
    measures.chain(sums).chain(zero).map(named)
}

/// Every kernel over blocks: of every rule and option, and those that are the same for all.
fn shaders() -> impl Iterator<Item = (String, Shader)> {
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
fn stored_shaders() -> impl Iterator<Item = (String, Shader)> {
    let rules: [Box<dyn DynRule>; 2] = [Adam::default().into(), LAMB::default().into()];
    rules.into_iter().flat_map(|rule| {
        let kernels = stored_kernels(rule.as_ref());
        let link = move |kernel| {
            let name = format!("{} {kernel:?}", label(rule.as_ref()));
            (name, rule_kernel(rule.as_ref(), kernel, &DEFAULTS).expect("linked"))
        };
        kernels.into_iter().map(link)
    })
}

/// Parses and validates a shader, with its constants' values in place and without special
/// capabilities, but for those that it has a native form for.
fn module(name: &str, shader: &Shader) -> (Module, ModuleInfo) {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_INT64, shader.text.contains("u64"));
    capabilities.set(Capabilities::SUBGROUP, uses_subgroups(shader));
    let module = naga::front::wgsl::parse_str(&shader.text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&shader.text)));
    let validate = |module: &Module| {
        Validator::new(ValidationFlags::all(), capabilities)
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::SHUFFLE)
            .validate(module)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"))
    };
    let info = validate(&module);
    let constants =
        shader.overrides.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let (module, _) = naga::back::pipeline_constants::process_overrides(
        &module,
        &info,
        Some((ShaderStage::Compute, "main")),
        &constants,
    )
    .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let module = module.into_owned();
    let info = validate(&module);
    (module, info)
}

fn uses_subgroups(shader: &Shader) -> bool {
    shader.text.contains("subgroup")
}

/// Whether it needs a feature that not every device has.
fn is_native(shader: &Shader) -> bool {
    shader.text.contains("u64") || uses_subgroups(shader)
}

/// A shader translates to SPIR-V, MSL, HLSL and, without words of 64 bits and subgroups, to GLSL.
pub fn check_translations(name: &str, shader: &Shader) {
    let (module, info) = module(name, shader);

    let lang_version = if uses_subgroups(shader) { (1, 3) } else { (1, 0) };
    let options = spv::Options { lang_version, ..Default::default() };
    let words = spv::write_vec(&module, &info, &options, None);
    assert!(!words.unwrap_or_else(|e| panic!("{name} to SPIR-V: {e}")).is_empty());

    let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
    let pipeline = msl::PipelineOptions::default();
    let (text, _) = msl::write_string(&module, &info, &options, &pipeline)
        .unwrap_or_else(|e| panic!("{name} to MSL: {e}"));
    assert!(text.contains("kernel void"), "{name}: {text}");

    let mut text = String::new();
    let mut options = hlsl::Options::default();
    if uses_subgroups(shader) {
        options.shader_model = hlsl::ShaderModel::V6_0;
    }
    let pipeline = hlsl::PipelineOptions::default();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(&module, &info, None)
        .unwrap_or_else(|e| panic!("{name} to HLSL: {e}"));
    assert!(text.contains("numthreads"), "{name}: {text}");

    if is_native(shader) {
        return;
    }
    let mut text = String::new();
    let options = glsl::Options { version: glsl::Version::new_gles(310), ..Default::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".into(),
        multiview: None,
    };
    glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, Default::default())
        .and_then(|mut writer| writer.write())
        .unwrap_or_else(|e| panic!("{name} to GLSL: {e}"));
    assert!(text.contains("local_size_x"), "{name}: {text}");
}

#[test]
fn every_shader_validates_and_translates() {
    for (name, shader) in shaders().chain(small_shaders()) {
        check_translations(&name, &shader);
    }
}

#[test]
fn every_format_validates_and_translates() {
    for (name, shader) in stored_shaders() {
        check_translations(&name, &shader);
    }
}

/// What is not asked for is in no kernel: one in f32 has no word of codecs.
#[test]
fn kernels_in_f32_know_nothing_of_formats() {
    for (name, shader) in shaders() {
        for word in ["halves", "exact", "Scales", "noise", "origins", "decode", "encode"] {
            let is_halves = name.contains("codec: F16") || name.contains("codec: Bf16");
            assert!(is_halves || !shader.text.contains(word), "{name} has `{word}`");
        }
    }
}

/// Words of two threads are changed by one atomic operation on the bits in which an element
/// differs; where words are a thread's own, there is no atomic. (A race is too rare to be seen by
/// steps on a driver that computes on the CPU.)
#[test]
fn words_of_two_threads_are_changed_by_atomics_and_no_others() {
    let (rule, slots, extras) = (Adam::default(), Slots::One, Extras::default());
    let formats = Formats::of(&Storage::bf16(Rounding::Nearest), &rule);
    for transport in Transport::ALL {
        let (shared, narrow) = (false, false);
        let kernel = RuleKernel::Update { transport, slots, shared, extras, formats, narrow };
        let text = rule_kernel(&rule, kernel, &DEFAULTS).expect("linked").text;
        let is_shared = transport == Transport::Shared;
        assert_eq!(text.contains("var<storage, read_write> params: array<atomic<u32>>"), is_shared);
        assert_eq!(text.matches("atomicXor(").count(), usize::from(is_shared), "{transport:?}");
        assert_eq!(text.matches("atomic").count() > 0, is_shared, "{transport:?}");
        assert!(!text.contains("atomicStore("), "{transport:?}");
    }
}

/// Adam with an exact master, 8-bit states and statistics, which is the most that it binds.
#[test]
fn adam_in_8_bits_with_statistics_fits_default_limits() {
    let storage = Storage::bf16(Rounding::Remainder).states(Format::Block8);
    let rule = Adam::default();
    let extras = Extras { statistics: Some(Exchange::Subgroups), skip: true, ..Extras::default() };
    let kernel = RuleKernel::Update {
        transport: Transport::Vec4,
        slots: Slots::Many,
        shared: false,
        extras,
        formats: Formats::of(&storage, &rule),
        narrow: false,
    };
    let shader = rule_kernel(&rule, kernel, &DEFAULTS).expect("linked");
    assert_eq!(storage_buffers(&shader.bindings), DEFAULTS.max_storage_buffers_per_shader_stage);
}

/// Kernels over blocks are without loops: naga adds a counter to each, and drivers get no hint to
/// unroll.
#[test]
fn no_shader_loops() {
    for (name, shader) in shaders().chain(stored_shaders()) {
        for keyword in ["for", "while", "loop"] {
            let words = shader.text.lines().map(|l| l.split("//").next().unwrap_or_default());
            let found = words
                .flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_'))
                .any(|word| word == keyword);
            assert!(!found, "{name} has a `{keyword}`");
        }
    }
}

/// The list of bindings is what the text uses, one for one, and small enough for every WebGPU
/// device.
#[test]
fn every_binding_is_used_and_every_kernel_fits_default_limits() {
    for (name, shader) in shaders().chain(small_shaders()) {
        let (module, info) = module(&name, &shader);
        let entry_point = info.get_entry_point(0);
        let mut declared = Vec::new();
        for (handle, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            let of = variable.name.as_deref().unwrap_or_default();
            assert!(!entry_point[handle].is_empty(), "{name}: `{of}` is bound for nothing");
            declared.push((binding.group, binding.binding, of));
        }
        let listed = |group: Group| {
            let of_group = shader.bindings.iter().filter(move |binding| binding.group() == group);
            (0..).zip(of_group).map(move |(k, binding)| (group as u32, k, binding.name.as_str()))
        };
        declared.sort_unstable();
        let listed: Vec<_> = listed(Group::Fixed).chain(listed(Group::Upload)).collect();
        assert_eq!(declared, listed, "{name}");
        let count = storage_buffers(&shader.bindings);
        // Four states, or three and what a sum binds, leave no room for statistics.
        let is_full = name.starts_with("Adan ") || name.starts_with("MARS ");
        let more = u64::from(is_full && name.contains("statistics: Some"));
        let most = DEFAULTS.max_storage_buffers_per_shader_stage + more;
        assert!(count <= most, "{name}: {count} buffers");
    }
}
