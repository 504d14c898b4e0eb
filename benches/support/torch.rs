//! PyTorch in a separate process (benches/peers/torch_step.py) that takes steps on request, so that
//! both libraries are timed in turns.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

/// The running process.
pub struct Torch {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    made: usize,
    /// Whether it reaches a CUDA device.
    pub cuda: bool,
}

/// An optimizer to create in the process.
pub struct Request<'a> {
    pub device: &'a str,
    pub threads: Option<usize>,
    pub rule: &'a str,
    pub implementation: &'a str,
    pub tensors: &'a [usize],
    /// Of parameters, gradients and states, as PyTorch calls it.
    pub dtype: &'a str,
}

/// One optimizer in the process.
pub struct TorchOptimizer {
    torch: Rc<RefCell<Torch>>,
    id: String,
    pub version: String,
}

impl Torch {
    /// `None` if python3 has no torch, or with `BENCH_TORCH=no`.
    pub fn open() -> Option<Rc<RefCell<Self>>> {
        let script = script()?;
        let python = std::env::var("BENCH_PYTHON").unwrap_or("python3".into());
        let mut child = Command::new(python)
            .args([script.as_os_str(), "--serve".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let (requests, answers) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut torch = Self { child, requests, answers, made: 0, cuda: false };
        torch.cuda = torch.answer()?["cuda"].as_bool()?;
        Some(Rc::new(RefCell::new(torch)))
    }

    fn ask(&mut self, request: &Value) -> Option<Value> {
        writeln!(self.requests, "{request}").ok()?;
        self.requests.flush().ok()?;
        self.answer()
    }

    fn answer(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The script: at the path in `BENCH_TORCH`, in the sources, or beside the binary.
fn script() -> Option<PathBuf> {
    const NAME: &str = "torch_step.py";
    if let Ok(path) = std::env::var("BENCH_TORCH") {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let sources = std::env::var("CARGO_MANIFEST_DIR").ok();
    let sources = sources.map(|root| PathBuf::from(root).join("benches/peers").join(NAME));
    let beside = std::env::current_exe().ok().map(|binary| binary.with_file_name(NAME));
    [sources, beside].into_iter().flatten().find(|path| path.is_file())
}

impl TorchOptimizer {
    /// `None` if PyTorch has no such optimizer, or not enough memory.
    pub fn make(torch: &Rc<RefCell<Torch>>, request: &Request<'_>) -> Option<Self> {
        let mut process = torch.borrow_mut();
        process.made += 1;
        let id = process.made.to_string();
        let answer = process.ask(&json!({
            "make": id,
            "device": request.device,
            "threads": request.threads,
            "rule": request.rule,
            "impl": request.implementation,
            "sizes": request.tensors,
            "dtype": request.dtype,
        }))?;
        let version = answer["version"].as_str()?.to_owned();
        answer["made"].as_bool()?.then(|| Self { torch: torch.clone(), id, version })
    }

    /// Seconds for each step, by the wall clock (`wall_ms`) or the device's clock (`device_ms`).
    pub fn step(&self, count: u64, clock: &str) -> f64 {
        let request = json!({ "step": self.id, "count": count });
        let answer = self.torch.borrow_mut().ask(&request).expect("an answer from PyTorch");
        let times = answer[clock].as_array().expect("times");
        let total: f64 = times.iter().filter_map(Value::as_f64).sum();
        total / 1e3 / count as f64
    }
}

impl Drop for TorchOptimizer {
    fn drop(&mut self) {
        self.torch.borrow_mut().ask(&json!({ "drop": self.id }));
    }
}
