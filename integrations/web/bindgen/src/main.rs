//! Makes the JavaScript module of a wasm file: `wgpu-optim-web-bindgen FILE.wasm FOLDER`.
//!
//! It is what `wasm-bindgen --target web` does. The lock file keeps it at the version that the wasm
//! file was built with, and nothing has to be installed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [wasm, folder] = &arguments[..] else {
        return Err("expected two arguments: the wasm file, and the folder for what is made".into());
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(wasm).web(true)?.omit_default_module_path(false).generate(folder)?;
    Ok(())
}
