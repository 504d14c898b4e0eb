//! Every linked shader is valid WGSL and translates to every language that wgpu speaks.

use crate::common::cases::label;
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use wgpu_optim::format::Access;
use wgpu_optim::rules::all;
use wgpu_optim::shader::{
    Extras, Shader, Stage, Sums, Variant, link, link_control, link_gather, link_measure, link_rows,
    link_sum,
};

/// Steps as they are by default, with each of their extras, and with all.
const EXTRAS: [Extras; 6] = {
    const NONE: Extras = Extras { clamps: false, skips: false, zeroes: false, watches: false };
    [
        NONE,
        Extras { clamps: true, ..NONE },
        Extras { skips: true, ..NONE },
        Extras { zeroes: true, ..NONE },
        Extras { watches: true, ..NONE },
        Extras { clamps: true, skips: true, zeroes: true, watches: true },
    ]
};

/// What is dispatched once a step, or less often, and may loop.
fn small_shaders() -> Vec<(String, Shader)> {
    let rows = |sums| (format!("rows, sums {sums}"), link_rows(sums));
    let gather = ("gather".to_owned(), link_gather());
    vec![rows(false), rows(true), gather, ("control".to_owned(), link_control())]
}

/// The kernels over blocks: every rule and option, access, sharing of buffers and extra; and those that add up
/// what they leave.
fn shaders() -> Vec<(String, Shader)> {
    let mut shaders = vec![
        ("sum of norms".to_owned(), link_sum(Sums::Norms)),
        ("sum of measures".to_owned(), link_sum(Sums::Measures)),
    ];
    for access in Access::ALL {
        shaders.push((format!("measure {access:?}"), link_measure(access)));
    }
    for rule in all() {
        for access in Access::ALL {
            for shared in [false, true] {
                for stage in [Stage::Norm, Stage::Step] {
                    if stage == Stage::Norm && rule.trust_ratio().is_none() {
                        continue;
                    }
                    for extras in EXTRAS {
                        if stage == Stage::Norm && extras != EXTRAS[0] {
                            continue;
                        }
                        let variant = Variant { stage, access, shared, extras };
                        let name = format!("{} {variant:?}", label(rule.as_ref()));
                        let linked = link(rule.as_ref(), 3, &variant);
                        shaders.push((name, linked.expect("linked")));
                    }
                }
            }
        }
    }
    shaders
}

/// Parses and validates a shader, with its constants' values in place and without special
/// capabilities, but for those of its access.
fn module(name: &str, shader: &Shader) -> (Module, ModuleInfo) {
    let capabilities = match uses_u64(shader) {
        true => Capabilities::SHADER_INT64,
        false => Capabilities::empty(),
    };
    let module = naga::front::wgsl::parse_str(&shader.text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&shader.text)));
    let validate = |module: &Module| {
        Validator::new(ValidationFlags::all(), capabilities)
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

/// Whether it needs a feature that only native devices have.
fn uses_u64(shader: &Shader) -> bool {
    shader.text.contains("u64")
}

/// A shader translates to SPIR-V, MSL, HLSL and, without words of 64 bits, to GLSL.
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

    if uses_u64(shader) {
        return;
    }
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
    for (name, shader) in shaders().into_iter().chain(small_shaders()) {
        check_translations(&name, &shader);
    }
}

/// Kernels over blocks are without loops: naga adds a counter to each, and drivers get no hint to unroll.
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
