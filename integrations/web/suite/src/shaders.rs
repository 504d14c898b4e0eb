//! Every kernel passes the browser's compiler.

use crate::common::kernels::{shaders, small_shaders, stored_shaders};
use crate::gpu::Gpu;
use wasm_bindgen::prelude::wasm_bindgen;
use wgpu_optim::internals::Shader;
use wgpu_optim::wgpu;

// wgpu asks no browser for subgroups yet, so that kernels that need them are tried beside it.
#[wasm_bindgen(inline_js = "
    let device;
    export async function complaints(code) {
        if (device === undefined) {
            const adapter = await navigator.gpu.requestAdapter();
            device = await adapter.requestDevice({ requiredFeatures: ['subgroups'] });
        }
        device.pushErrorScope('validation');
        const info = await device.createShaderModule({ code }).getCompilationInfo();
        const error = await device.popErrorScope();
        return info.messages.map((found) => found.message).join() + (error?.message ?? '');
    }
")]
extern "C" {
    async fn complaints(code: &str) -> wasm_bindgen::JsValue;
}

pub async fn every_kernel_compiles(gpu: &Gpu) {
    let mut counts = [0; 2];
    for (name, shader) in shaders().chain(stored_shaders()).chain(small_shaders()) {
        // No browser has words of 64 bits.
        if shader.text.contains("u64") {
            continue;
        }
        let has_subgroups = shader.text.contains("subgroup");
        let told = if has_subgroups {
            complaints(&shader.text).await.as_string().expect("a text")
        } else {
            complaints_of_wgpu(gpu, &name, &shader).await
        };
        assert!(told.is_empty(), "{name}: {told}\n{}", shader.text);
        counts[usize::from(has_subgroups)] += 1;
    }
    crate::say(&format!("{} kernels, and {} with subgroups", counts[0], counts[1]));
    assert!(counts.iter().all(|&count| count > 1000), "{counts:?} kernels are not all");
}

async fn complaints_of_wgpu(gpu: &Gpu, name: &str, shader: &Shader) -> String {
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(name),
        source: wgpu::ShaderSource::Wgsl(shader.text.as_str().into()),
    });
    let info = module.get_compilation_info().await;
    info.messages.iter().map(|message| message.message.as_str()).collect()
}
