//! Every linked shader is valid WGSL and translates to every language that wgpu speaks.

use crate::common::cases::label;
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use wgpu_optim::format::Access;
use wgpu_optim::rules::all;
use wgpu_optim::shader::{Shader, Stage, link, link_sum};

/// Every rule and option, access, and sharing of buffers.
fn shaders() -> Vec<(String, Shader)> {
    let mut shaders = vec![("sum".to_owned(), link_sum())];
    for rule in all() {
        for access in Access::ALL {
            for shared in [false, true] {
                for stage in [Stage::Norm, Stage::Step] {
                    if stage == Stage::Norm && rule.trust_ratio().is_none() {
                        continue;
                    }
                    let name = format!("{} {stage:?} {access:?} {shared}", label(rule.as_ref()));
                    let linked = link(rule.as_ref(), 3, stage, access, shared);
                    shaders.push((name, linked.expect("linked")));
                }
            }
        }
    }
    shaders
}

/// Parses and validates a shader, with its constants' values in place and without special
/// capabilities.
fn module(name: &str, shader: &Shader) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(&shader.text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&shader.text)));
    let validate = |module: &Module| {
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(module)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"))
    };
    let info = validate(&module);
    let constants =
        shader.constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let (module, _) = naga::back::pipeline_constants::process_overrides(
        &module,
        &info,
        Some((ShaderStage::Compute, shader.entry_point)),
        &constants,
    )
    .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let module = module.into_owned();
    let info = validate(&module);
    (module, info)
}

/// A shader translates to SPIR-V, MSL, HLSL and GLSL.
pub fn check_translations(name: &str, shader: &Shader) {
    let (module, info) = module(name, shader);

    let options = spv::Options::default();
    let words = spv::write_vec(&module, &info, &options, None);
    assert!(!words.unwrap_or_else(|e| panic!("{name} to SPIR-V: {e}")).is_empty());

    let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
    let pipeline = msl::PipelineOptions::default();
    let (text, _) = msl::write_string(&module, &info, &options, &pipeline)
        .unwrap_or_else(|e| panic!("{name} to MSL: {e}"));
    assert!(text.contains("kernel void"), "{name}: {text}");

    let mut text = String::new();
    let options = hlsl::Options::default();
    let pipeline = hlsl::PipelineOptions::default();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(&module, &info, None)
        .unwrap_or_else(|e| panic!("{name} to HLSL: {e}"));
    assert!(text.contains("numthreads"), "{name}: {text}");

    let mut text = String::new();
    let options = glsl::Options { version: glsl::Version::new_gles(310), ..Default::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: shader.entry_point.into(),
        multiview: None,
    };
    glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, Default::default())
        .and_then(|mut writer| writer.write())
        .unwrap_or_else(|e| panic!("{name} to GLSL: {e}"));
    assert!(text.contains("local_size_x"), "{name}: {text}");
}

#[test]
fn every_shader_validates_and_translates() {
    for (name, shader) in shaders() {
        check_translations(&name, &shader);
    }
}

/// Kernels without loops: naga adds a counter to each, and drivers get no hint to unroll.
#[test]
fn no_shader_loops() {
    for (name, shader) in shaders() {
        for keyword in ["for", "while", "loop"] {
            let words = shader.text.lines().map(|l| l.split("//").next().unwrap_or_default());
            let found = words
                .flat_map(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_'))
                .any(|word| word == keyword);
            assert!(!found, "{name} has a `{keyword}`");
        }
    }
}
