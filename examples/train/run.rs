//! A training's place in its run, to be saved, and to go on from.

use crate::cli::OptimizerName;
use crate::engine::{Engine, Reference, Status};
use crate::network::Network;
use crate::training::Training;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use wgpu_optim::Modifiers;

/// Where a run is saved, and where it goes on from.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub save: Option<PathBuf>,
    pub resume: Option<PathBuf>,
    /// The step after which it stops, as by Ctrl-C.
    pub stop_after: Option<usize>,
}

/// Entries of the file that are this program's own.
const RUN: &str = "run";
const LOSSES: &str = "losses";

/// What a run has behind it.
pub struct Past {
    pub status: Status,
    /// Each batch's loss so far; how many there are tells the place in the data.
    pub losses: Vec<f32>,
}

/// Whether Ctrl-C was pressed.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Has Ctrl-C stop the run after its step; pressed again it ends the program.
pub fn listen() -> Result<(), Box<dyn Error>> {
    ctrlc::set_handler(|| {
        if STOPPED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}

/// Whether a run stops after so many steps.
pub fn is_stopped(files: &Files, steps: usize) -> bool {
    STOPPED.load(Ordering::Relaxed) || files.stop_after == Some(steps)
}

/// What must be the same for a run to go on.
fn description(training: &Training, name: OptimizerName, lr: f64) -> String {
    let Training { sizes, epochs, batch_size, seed, control, .. } = training;
    let run = format!(
        "{name:?} at {lr}, {epochs} epochs, batches of {batch_size}, seed {seed}, {sizes:?}"
    );
    match control.modifiers {
        none if none == Modifiers::default() => run,
        modifiers => format!("{run}, {modifiers:?}"),
    }
}

/// Saves a run, if it is to be.
pub fn save(
    training: &Training,
    (name, lr): (OptimizerName, f64),
    engine: &mut Engine,
    losses: &[f32],
) -> Result<(), Box<dyn Error>> {
    let Some(path) = &training.files.save else { return Ok(()) };
    let losses = serde_json::to_string(losses)?;
    engine.save(path, &[(RUN, description(training, name, lr)), (LOSSES, losses)])?;
    Ok(())
}

/// Goes on from a file, if there is one to go on from.
pub fn resume(
    training: &Training,
    (name, lr): (OptimizerName, f64),
    engine: &mut Engine,
    reference: &mut Reference,
    network: &mut Network,
) -> Result<Past, Box<dyn Error>> {
    let Some(path) = &training.files.resume else {
        return Ok(Past { status: Status::before_training(&training.control), losses: Vec::new() });
    };
    let (status, loaded) = engine.load(path, network)?;
    reference.load(path)?;
    let expected = description(training, name, lr);
    let found = loaded.user.get(RUN).map_or("another program's", String::as_str);
    if found != expected {
        let path = path.display();
        return Err(
            format!("{path} has the run `{found}`, but the arguments are `{expected}`").into()
        );
    }
    let losses = loaded.user.get(LOSSES).map_or("[]", String::as_str);
    Ok(Past { status, losses: serde_json::from_str(losses)? })
}
