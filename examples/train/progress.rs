//! Progress of a training: a bar on a terminal, a few plain lines elsewhere, both on stderr.

use crate::engine::Status;
use crate::table::power_of_2;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;

/// Lines printed for a training where there is no terminal.
const PLAIN_LINES: usize = 5;

pub struct Progress {
    title: &'static str,
    epochs: usize,
    steps_per_epoch: usize,
    bar: ProgressBar,
}

impl Progress {
    pub fn new(title: &'static str, epochs: usize, steps_per_epoch: usize) -> Self {
        let template = "{prefix:8} {bar:12.cyan/blue} {msg}  {elapsed}";
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        let bar = ProgressBar::new((epochs * steps_per_epoch) as u64);
        bar.set_style(style);
        bar.set_prefix(title);
        Self { title, epochs, steps_per_epoch, bar }
    }

    /// Shows the loss after these steps, and the status after the last one.
    pub fn update(&self, losses: &[f32], status: &Status) {
        let message = self.message(losses, status);
        if !self.bar.is_hidden() {
            self.bar.set_message(message);
            self.bar.inc(1);
        } else if self.is_time_for_a_line(losses.len()) {
            // A closed stderr must not stop the training.
            let _ = writeln!(std::io::stderr(), "{:8} epoch {message}", self.title);
        }
    }

    fn message(&self, losses: &[f32], status: &Status) -> String {
        let epoch = losses.len().div_ceil(self.steps_per_epoch);
        // The loss of single batches is noisy, so the mean over an epoch is shown.
        let recent = &losses[losses.len().saturating_sub(self.steps_per_epoch)..];
        let loss = recent.iter().sum::<f32>() / recent.len() as f32;
        let width = self.epochs.to_string().len();
        let &Status { grad_norm, loss_scale, skipped } = status;
        let scale = power_of_2(loss_scale);
        format!(
            "{epoch:width$}/{}  loss {loss:.4}  norm {grad_norm:5.3}  scale {scale:4}  \
             skipped {skipped}",
            self.epochs
        )
    }

    fn is_time_for_a_line(&self, steps: usize) -> bool {
        let epochs_a_line = self.epochs.div_ceil(PLAIN_LINES);
        steps == self.epochs * self.steps_per_epoch
            || steps.is_multiple_of(epochs_a_line * self.steps_per_epoch)
    }

    /// A run that goes on has so many steps behind it.
    pub fn go_on_from(&mut self, steps: usize) {
        self.bar.set_position(steps as u64);
    }

    /// Leaves the bar as it is.
    pub fn abandon(&self) {
        self.bar.abandon();
    }

    pub fn finish(&self) {
        self.bar.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_epoch_and_the_last_status() {
        let progress = Progress::new("Adam", 10, 2);
        let status = Status { grad_norm: 0.25, loss_scale: 512.0, skipped: 3 };
        assert_eq!(
            progress.message(&[9.0, 2.0, 1.0], &status),
            " 2/10  loss 1.5000  norm 0.250  scale 2^9   skipped 3"
        );
        let overflow = Status { grad_norm: f64::INFINITY, loss_scale: 65536.0, skipped: 12 };
        let message = progress.message(&[1.0], &overflow);
        assert_eq!(message, " 1/10  loss 1.0000  norm   inf  scale 2^16  skipped 12");
    }
}
