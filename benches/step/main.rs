//! The speed of steps on the CPU and the GPU, compared with the memory bandwidth and with other
//! libraries.
//!
//! ```text
//! cargo bench --bench step                     everything
//! cargo bench --bench step -- adam             the parts and series whose names match
//! BENCH_ELEMENTS=1048576,16777216 …            the sizes of the series
//! BENCH_SECONDS=300 …                          skip what does not fit in this time
//! BENCH_RECORD=benches/record …                write a record into a folder
//! BENCH_PEERS=burn.jsonl,torch.jsonl …         merge the lines of other libraries
//! BENCH_TORCH=no …                             do not time PyTorch, even if python3 has it
//! WGPU_BACKEND=vulkan WGPU_ADAPTER_NAME=…      another device
//! … -- --adapter                               only print which device it would be
//! ```
//!
//! All results are checked before steps are timed. Bytes are the fewest that a step can move: the
//! gradient is read, the parameter and each state are read and written. The most important parts
//! come first.

mod against;
mod checkpoints;
mod control;
mod formats;
mod growth;
mod host;
mod many;
mod modifiers;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod tester;

use std::process::ExitCode;
use support::bench::Bench;
use support::gpu::Gpu;
use support::{report, targets};

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--adapter") {
        let gpu = Gpu::open();
        println!("{:?} {}", gpu.info.device_type, gpu.name());
        return ExitCode::SUCCESS;
    }
    let mut bench = Bench::open();
    bench.merge_peers();
    if bench.quick {
        bench.part("tester", 1.0, tester::tester);
    }
    bench.part("rules against the copy", 1.0, against::copy);
    bench.part("PyTorch on the GPU", 1.0, against::torch_on_gpu);
    bench.part("many tensors", 1.0, against::many_tensors);
    bench.part("around the step", 1.0, control::control);
    bench.part("formats", 1.0, formats::formats);
    bench.part("modifiers", 1.0, modifiers::modified);
    bench.part("recording", 1.0, host::record);
    bench.part("checkpoints", 1.0, checkpoints::checkpoints);
    bench.part("very many tensors", 1.0, many::many);
    bench.part("PyTorch on the CPU", 1.0, against::torch_on_cpu);
    bench.part("boundaries", 0.7, growth::boundaries);
    bench.part("growth", 0.7, growth::growth);
    bench.part("start-up", 0.8, start::start);
    bench.guarded("sizes", sweep::SIZES, sweep::sizes);
    bench.guarded("models", sweep::MODELS, sweep::models);
    bench.guarded("all rules", 1.0, sweep::all_rules);
    report::print(&mut bench);
    targets::print(&mut bench);
    bench.finish()
}
