//! Every linked shader is valid WGSL and translates to every language that wgpu speaks.

pub mod list;
mod workgroup;

use crate::common::limits::DEFAULTS;
use list::{shaders, small_shaders, stored_shaders};
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};
use naga::{Module, ShaderStage};
use wgpu_optim::internals::geometry::{Exchange, Sharing, Transport};
use wgpu_optim::internals::pages::Slots;
use wgpu_optim::internals::{
    Extras, Formats, Group, RuleKernel, Shader, rule_kernel, storage_buffers,
};
use wgpu_optim::{Adam, Format, Rounding, Storage};

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
        let (sharing, narrow) = (Sharing::Apart, false);
        let kernel = RuleKernel::Update { transport, slots, sharing, extras, formats, narrow };
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
        sharing: Sharing::Apart,
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
