//! The results as a table.

use crate::training::Outcome;

const COLUMNS: usize = 9;

/// A row for each optimizer; `bytes` are an element's, held. `difference` is the header of the
/// column of differences from the reference.
pub fn table(outcomes: &[Outcome], difference: &str) -> String {
    let header = [
        "optimizer",
        "learning rate",
        "train loss",
        "test accuracy",
        "skipped",
        "last scale",
        "steps/s",
        "bytes",
        difference,
    ];
    let mut rows = vec![header.map(String::from)];
    rows.extend(outcomes.iter().map(row));

    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).filter_map(width).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    lines.insert(1, "─".repeat(lines[0].chars().count()));
    lines.join("\n")
}

fn row(outcome: &Outcome) -> [String; COLUMNS] {
    [
        outcome.name.title().into(),
        // With an exponent where there would be many zeros.
        format!("{:?}", outcome.lr),
        format!("{:.4}", outcome.train_loss),
        accuracy(outcome),
        outcome.skipped.to_string(),
        power_of_2(outcome.loss_scale),
        format!("{:.0}", outcome.steps_per_second),
        format!("{:.1}", outcome.bytes_per_element),
        match outcome.max_difference {
            0.0 => "0".into(),
            difference => format!("{difference:.1e}"),
        },
    ]
}

/// The parameters' accuracy, and their average's beside it.
fn accuracy(outcome: &Outcome) -> String {
    let percent = |share: f32| format!("{:.1} %", 100.0 * share);
    let own = percent(outcome.test_accuracy);
    outcome
        .average_accuracy
        .map_or(own.clone(), |average| format!("{own}, average {}", percent(average)))
}

/// Names are aligned to the left, numbers to the right.
fn line(cells: &[String; COLUMNS], widths: &[usize]) -> String {
    let pad = |(column, (cell, &width)): (usize, (&String, &usize))| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    };
    cells.iter().zip(widths).enumerate().map(pad).collect::<Vec<_>>().join("   ")
}

/// A loss scale, which is always a power of two.
pub fn power_of_2(scale: f32) -> String {
    format!("2^{}", scale.log2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::OptimizerName;

    #[test]
    fn a_row_shows_every_result() {
        let outcome = Outcome {
            name: OptimizerName::Adam,
            lr: 0.003,
            losses: vec![],
            train_loss: 0.5,
            test_accuracy: 0.975,
            average_accuracy: None,
            skipped: 7,
            loss_scale: 32768.0,
            steps_per_second: 99.6,
            bytes_per_element: 7.04,
            max_difference: 0.0,
        };
        let cells = ["Adam", "0.003", "0.5000", "97.5 %", "7", "2^15", "100", "7.0", "0"];
        assert_eq!(row(&outcome), cells);
        let averaged = Outcome { average_accuracy: Some(0.98), ..outcome };
        assert_eq!(row(&averaged)[3], "97.5 %, average 98.0 %");
    }
}
