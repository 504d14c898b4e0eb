//! How far a training is: a bar on a terminal, a few plain lines elsewhere. Both go to stderr.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;

/// Lines of a training where there is no terminal.
const PLAIN_LINES: usize = 5;

pub struct Progress {
    title: &'static str,
    epochs: usize,
    steps_per_epoch: usize,
    bar: ProgressBar,
}

impl Progress {
    pub fn new(title: &'static str, epochs: usize, steps_per_epoch: usize) -> Self {
        let template = "{prefix:8} {bar:32.cyan/blue} epoch {msg}  {elapsed}";
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        let bar = ProgressBar::new((epochs * steps_per_epoch) as u64);
        bar.set_style(style);
        bar.set_prefix(title);
        Self { title, epochs, steps_per_epoch, bar }
    }

    /// Shows the losses of all steps so far.
    pub fn update(&self, losses: &[f32]) {
        let epoch = losses.len().div_ceil(self.steps_per_epoch);
        // One batch's loss jumps about; an epoch's mean tells more.
        let recent = &losses[losses.len().saturating_sub(self.steps_per_epoch)..];
        let loss = recent.iter().sum::<f32>() / recent.len() as f32;
        let width = self.epochs.to_string().len();
        let message = format!("{epoch:width$}/{}  loss {loss:.4}", self.epochs);
        if !self.bar.is_hidden() {
            self.bar.set_message(message);
            self.bar.inc(1);
        } else if self.is_time_for_a_line(losses.len()) {
            // Nobody may be listening, which is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{:8} epoch {message}", self.title);
        }
    }

    fn is_time_for_a_line(&self, steps: usize) -> bool {
        let epochs_a_line = self.epochs.div_ceil(PLAIN_LINES);
        steps == self.epochs * self.steps_per_epoch
            || steps.is_multiple_of(epochs_a_line * self.steps_per_epoch)
    }

    pub fn finish(&self) {
        self.bar.finish();
    }
}
