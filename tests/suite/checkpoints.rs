//! Checkpoints: a run that is saved, loaded elsewhere and resumed is the run that went on.

mod files;
mod hostile;
mod loading;
mod pytorch;
mod resume;
mod run;
