//! The picture of the loss curves.

use crate::cli::OptimizerName;
use crate::training::{Outcome, Training};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

const SIZE: (u32, u32) = (1000, 640);
const FONT: &str = "Helvetica, Arial, sans-serif";
const DARK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(110, 110, 110);
const LIGHT: RGBColor = RGBColor(225, 225, 225);
/// With more points for single batches the file would only be larger.
const MAX_BATCH_POINTS: usize = 1500;

type Axes<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, LogCoord<f64>>>;
type DrawingError = DrawingAreaErrorKind<io::Error>;

/// Creates the picture's folder and opens the file, so that a wrong path is an error before
/// training starts.
pub fn check_writable(path: &Path) -> Result<(), String> {
    let open = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::OpenOptions::new().append(true).create(true).open(path)
    };
    open().map(drop).map_err(|error| cannot_write(path, &error))
}

/// Draws the losses over the epochs: a faint line for each batch's, a strong one for each epoch's
/// mean.
pub fn write(path: &Path, training: &Training, outcomes: &[Outcome]) -> Result<(), String> {
    let curves: Vec<_> =
        outcomes.iter().map(|outcome| Curve::new(outcome, training.steps_per_epoch())).collect();
    let mut svg = String::new();
    draw(&mut svg, training.epochs, &curves)
        .map_err(|error| format!("cannot draw the loss curves: {error}"))?;
    fs::write(path, svg).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}. Give another path with --output", path.display())
}

/// An optimizer's losses, by the epoch.
struct Curve {
    name: OptimizerName,
    batches: Vec<(f64, f64)>,
    epochs: Vec<(f64, f64)>,
}

impl Curve {
    fn new(outcome: &Outcome, steps_per_epoch: usize) -> Self {
        let losses: Vec<f64> = outcome.losses.iter().map(|&loss| loss.into()).collect();
        let batches: Vec<_> = losses
            .iter()
            .enumerate()
            .map(|(step, &loss)| (step as f64 / steps_per_epoch as f64, loss))
            .collect();
        // The line of means begins with the untrained network's loss.
        let mut epochs = batches[..1].to_vec();
        for (epoch, losses) in losses.chunks(steps_per_epoch).enumerate() {
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            epochs.push((epoch as f64 + 0.5, mean));
        }
        let stride = batches.len().div_ceil(MAX_BATCH_POINTS);
        Self { name: outcome.name, batches: batches.into_iter().step_by(stride).collect(), epochs }
    }
}

fn draw(svg: &mut String, epochs: usize, curves: &[Curve]) -> Result<(), DrawingError> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = TextStyle::from((FONT, 26, FontStyle::Bold)).color(&DARK);
    let subtitle = TextStyle::from((FONT, 17)).color(&GREY);
    root.draw(&Text::new("Training loss by optimizer", (92, 26), title))?;
    root.draw(&Text::new(
        "Handwritten digits. Faint: each batch. Strong: the mean of each epoch.",
        (92, 62),
        subtitle,
    ))?;

    let losses = loss_range(curves);
    let mut axes = ChartBuilder::on(&root)
        .margin_top(100)
        .margin_right(36)
        .margin_bottom(18)
        .margin_left(18)
        .x_label_area_size(58)
        .y_label_area_size(74)
        .build_cartesian_2d(0.0..epochs as f64, losses.clone().log_scale())?;
    draw_mesh(&mut axes)?;
    draw_curves(&mut axes, curves, &losses)?;
    axes.configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(14)
        .legend_area_size(40)
        .label_font(TextStyle::from((FONT, 18)).color(&DARK))
        .background_style(WHITE.mix(0.9))
        .draw()?;
    root.present()
}

/// From the lowest mean to the highest batch. Batches below are cut off: some have almost no loss,
/// and would compress the rest of the chart.
fn loss_range(curves: &[Curve]) -> Range<f64> {
    let positive = |loss: &f64| *loss > 0.0 && loss.is_finite();
    let means = curves.iter().flat_map(|curve| &curve.epochs).map(|point| point.1);
    let batches = curves.iter().flat_map(|curve| &curve.batches).map(|point| point.1);
    let lowest = means.filter(positive).fold(f64::INFINITY, f64::min);
    let highest = batches.filter(positive).fold(0.0, f64::max);
    if lowest < highest { 0.6 * lowest..1.3 * highest } else { 0.1..10.0 }
}

fn draw_mesh(axes: &mut Axes<'_, '_>) -> Result<(), DrawingError> {
    let labels = TextStyle::from((FONT, 17)).color(&DARK);
    axes.configure_mesh()
        .x_desc("Epoch")
        .y_desc("Cross-entropy loss (log scale)")
        .axis_desc_style(TextStyle::from((FONT, 19)).color(&DARK))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|loss| loss.to_string())
        .label_style(labels)
        .axis_style(GREY)
        .bold_line_style(LIGHT)
        .light_line_style(TRANSPARENT)
        .draw()
}

fn draw_curves(
    axes: &mut Axes<'_, '_>,
    curves: &[Curve],
    range: &Range<f64>,
) -> Result<(), DrawingError> {
    let visible = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let finite = points.iter().filter(|(_, loss)| loss.is_finite());
        finite.map(|&(epoch, loss)| (epoch, loss.clamp(range.start, range.end))).collect()
    };
    for curve in curves {
        axes.draw_series(LineSeries::new(visible(&curve.batches), color(curve.name).mix(0.15)))?;
    }
    for curve in curves {
        let style = color(curve.name).stroke_width(3);
        axes.draw_series(LineSeries::new(visible(&curve.epochs), style))?
            .label(curve.name.title())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], style));
    }
    Ok(())
}

/// Colors that are distinguishable with every kind of color vision (Okabe and Ito 2008).
fn color(name: OptimizerName) -> RGBColor {
    match name {
        OptimizerName::Adam => RGBColor(0, 114, 178),
        OptimizerName::AdamW => RGBColor(86, 180, 233),
        OptimizerName::RMSprop => RGBColor(213, 94, 0),
        OptimizerName::Adagrad => RGBColor(0, 158, 115),
        OptimizerName::Sgd => RGBColor(204, 121, 167),
    }
}
