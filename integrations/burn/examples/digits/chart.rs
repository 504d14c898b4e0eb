//! The loss curves as a picture.

use std::fmt::Write;
use std::path::PathBuf;

const WIDTH: f32 = 800.0;
const HEIGHT: f32 = 400.0;
const MARGIN: f32 = 48.0;
const NAME: &str = "wgpu-optim-burn-digits.svg";

/// Draws a curve for each run over batches, losses on a logarithmic scale, into the folder for
/// temporary files.
pub fn draw(curves: &[(&str, &[f32])]) -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(NAME);
    std::fs::write(&path, picture(curves))?;
    Ok(path)
}

fn picture(curves: &[(&str, &[f32])]) -> String {
    let losses = || curves.iter().flat_map(|(_, losses)| losses.iter().map(|loss| loss.log10()));
    let (low, high) =
        (losses().fold(f32::MAX, f32::min).floor(), losses().fold(f32::MIN, f32::max).ceil());
    let batches = curves.iter().map(|(_, losses)| losses.len()).max().unwrap_or(0).max(2);
    let x = |batch: usize| MARGIN + (WIDTH - 2.0 * MARGIN) * batch as f32 / (batches - 1) as f32;
    let y = |log: f32| MARGIN + (HEIGHT - 2.0 * MARGIN) * (high - log) / (high - low);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for power in low as i32..=high as i32 {
        let at = y(power as f32);
        let (left, right) = (MARGIN, WIDTH - MARGIN);
        let _ = writeln!(svg, "<path d=\"M{left} {at}H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">1e{power}</text>", at + 4.0);
    }
    // The later curve is thin, so that the earlier one shows where they coincide.
    let styles = [("#f4a261", 5.0), ("#1d3557", 1.2)];
    for (index, ((name, losses), (color, width))) in curves.iter().zip(styles).enumerate() {
        let points = losses.iter().enumerate();
        let points = points.map(|(batch, loss)| format!("{:.1},{:.1}", x(batch), y(loss.log10())));
        let points = points.collect::<Vec<_>>().join(" ");
        let style = format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"");
        let _ = writeln!(svg, "<polyline points=\"{points}\" {style}/>");
        let (left, top) = (WIDTH - 160.0, MARGIN + 18.0 * index as f32);
        let _ = writeln!(svg, "<path d=\"M{left} {top}h24\" {style}/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{name}</text>", left + 32.0, top + 4.0);
    }
    let (middle, bottom) = (WIDTH / 2.0, HEIGHT - 12.0);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{bottom}\">batch (of {batches}); loss upwards</text>\n</svg>"
    );
    svg
}
