//! What is tested in a browser: that kernels compile there, that steps are the CPU's, that errors
//! which a browser tells later are told, and that checkpoints resume. A test is an `async` function
//! that panics; what the device complains of fails the test after which it was told.

mod arrays;
mod checkpoints;
mod common;
mod control;
mod errors;
mod formats;
mod gpu;
mod rules;
mod shaders;
mod speed;

use gpu::Gpu;
use wasm_bindgen::prelude::wasm_bindgen;

/// Runs the tests whose names have this word, and returns how many passed. What they say goes to
/// the console.
#[wasm_bindgen]
pub async fn run(word: String) -> u32 {
    std::panic::set_hook(Box::new(|info| say(&format!("FAILED: {info}"))));
    let mut passed = 0;
    macro_rules! tests {
        ($($file:ident::$test:ident,)*) => {$(
            let name = concat!(stringify!($file), "::", stringify!($test));
            if name.contains(&word) {
                let start = js_sys::Date::now();
                let gpu = Gpu::new().await;
                $file::$test(&gpu).await;
                gpu.check(name).await;
                say(&format!("{name}: ok, {:.1} s", (js_sys::Date::now() - start) / 1e3));
                passed += 1;
            }
        )*};
    }
    tests! {
        shaders::every_kernel_compiles,
        rules::steps_are_the_cpus_in_every_placement,
        control::steps_are_the_cpus_with_everything_around_them,
        formats::steps_are_the_cpus_in_every_storage,
        formats::placement_changes_no_bit,
        checkpoints::a_run_resumes_to_the_bit,
        errors::what_build_refuses_build_async_refuses,
        errors::later_mistakes_reach_the_devices_handler,
    }
    passed
}

/// Tells the console how long steps take.
#[wasm_bindgen]
pub async fn time_steps() -> u32 {
    speed::compare().await;
    1
}

/// Tells the console.
fn say(message: &str) {
    web_sys::console::log_1(&message.into());
}
