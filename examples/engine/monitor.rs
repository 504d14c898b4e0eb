//! Statistics of the steps during training.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use wgpu_optim::{Optimizer, Readback, Statistics};

/// Reads statistics back one at a time, and never waits for them.
#[derive(Default)]
pub struct Monitor {
    /// The readback in progress.
    readback: Option<Readback<Statistics>>,
    /// The latest statistics that arrived; they may be a few steps old.
    pub latest: Option<Statistics>,
}

impl Monitor {
    /// Takes the statistics if they have arrived, and then requests the next. It can be called at
    /// any time.
    pub fn update(
        &mut self,
        device: &wgpu::Device,
        optimizer: &Optimizer,
    ) -> Result<(), Box<dyn Error>> {
        // Runs the callbacks of finished GPU work, and returns at once.
        device.poll(wgpu::PollType::Poll)?;
        if let Some(readback) = &mut self.readback {
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(statistics) = Pin::new(readback).poll(&mut context) else {
                return Ok(());
            };
            self.latest = Some(statistics?);
        }
        self.readback = Some(optimizer.read_statistics()?);
        Ok(())
    }
}
