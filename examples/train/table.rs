//! The results as a table.

use crate::training::Outcome;

/// One row an optimizer. `difference` heads the column of the differences from the reference.
pub fn table(outcomes: &[Outcome], difference: &str) -> String {
    let header =
        ["optimizer", "learning rate", "train loss", "test accuracy", "steps/s", difference];
    let mut rows = vec![header.map(String::from)];
    rows.extend(outcomes.iter().map(row));

    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).filter_map(width).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    lines.insert(1, "─".repeat(lines[0].chars().count()));
    lines.join("\n")
}

fn row(outcome: &Outcome) -> [String; 6] {
    [
        outcome.name.title().into(),
        // With an exponent where there would be many zeros.
        format!("{:?}", outcome.lr),
        format!("{:.4}", outcome.train_loss),
        format!("{:.1} %", 100.0 * outcome.test_accuracy),
        format!("{:.0}", outcome.steps_per_second),
        match outcome.max_difference {
            0.0 => "0".into(),
            difference => format!("{difference:.1e}"),
        },
    ]
}

/// Names to the left, numbers to the right.
fn line(cells: &[String; 6], widths: &[usize]) -> String {
    let pad = |(column, (cell, &width)): (usize, (&String, &usize))| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    };
    cells.iter().zip(widths).enumerate().map(pad).collect::<Vec<_>>().join("   ")
}
