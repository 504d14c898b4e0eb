//! Statistics of the steps, while training goes on.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use wgpu_optim::{Optimizer, Readback, Statistics};

/// Reads statistics back, one after another, and never waits for them.
#[derive(Default)]
pub struct Monitor {
    /// On its way.
    readback: Option<Readback<Statistics>>,
    /// The latest to have arrived, perhaps of a few steps ago.
    pub latest: Option<Statistics>,
}

impl Monitor {
    /// Takes what has arrived, and asks for the next. Call it as often as you like.
    pub fn update(
        &mut self,
        device: &wgpu::Device,
        optimizer: &Optimizer,
    ) -> Result<(), Box<dyn Error>> {
        // Runs the callbacks of what the GPU has finished, and returns at once.
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
