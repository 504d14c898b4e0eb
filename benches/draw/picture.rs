//! The roofline picture: bandwidth by the bytes that a step moves, with a copy as the roof.

use super::support::report::text;
use super::support::series::{GPU_TIMESTAMPS, GPU_WALL};
use plotters::prelude::*;
use serde_json::Value;
use std::path::Path;

const SIZE: (u32, u32) = (1000, 600);
const FONT: &str = "Helvetica, Arial, sans-serif";
const DARK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(110, 110, 110);
const LIGHT: RGBColor = RGBColor(225, 225, 225);

/// The curves: name in the record, label, color and width.
const CURVES: [(&str, &str, RGBColor, u32); 5] = [
    ("copy", "copy", RGBColor(150, 150, 150), 5),
    ("adam", "Adam", RGBColor(31, 119, 180), 2),
    ("rmsprop", "RMSprop", RGBColor(214, 39, 40), 2),
    ("adagrad", "AdaGrad", RGBColor(44, 160, 44), 2),
    ("sgd", "SGD, momentum", RGBColor(148, 103, 189), 2),
];

type Point = (f64, f64);

pub fn draw(path: &Path, record: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let curves: Vec<Vec<Point>> = CURVES.iter().map(|curve| points(record, curve.0)).collect();
    let all: Vec<Point> = curves.iter().flatten().copied().collect();
    if all.is_empty() {
        return Err("the record has no series on a GPU".into());
    }
    let range = |of: fn(&Point) -> f64, low: f64, high: f64| {
        let values = all.iter().map(of);
        low * values.clone().fold(f64::INFINITY, f64::min)..high * values.fold(0.0, f64::max)
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        titles(&root, record)?;
        let mut axes = ChartBuilder::on(&root)
            .margin_top(92)
            .margin_right(36)
            .margin_bottom(18)
            .margin_left(18)
            .x_label_area_size(58)
            .y_label_area_size(74)
            .build_cartesian_2d(
                range(|p| p.0, 0.6, 1.6).log_scale(),
                range(|p| p.1, 0.7, 1.4).log_scale(),
            )?;
        axes.configure_mesh()
            .x_desc("Bytes that a step moves (log scale)")
            .y_desc("GB/s (log scale)")
            .axis_desc_style(TextStyle::from((FONT, 19)).color(&DARK))
            .x_label_formatter(&|bytes| short(*bytes))
            .y_label_formatter(&|speed| format!("{speed}"))
            .label_style(TextStyle::from((FONT, 17)).color(&DARK))
            .axis_style(GREY)
            .bold_line_style(LIGHT)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for ((_, name, colour, width), points) in CURVES.iter().zip(&curves) {
            let style = colour.stroke_width(*width);
            let dots = points.iter().map(|&point| Circle::new(point, 2 + width, colour.filled()));
            axes.draw_series(dots)?;
            axes.draw_series(LineSeries::new(points.iter().copied(), style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], style));
        }
        axes.configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .margin(14)
            .legend_area_size(40)
            .label_font(TextStyle::from((FONT, 18)).color(&DARK))
            .background_style(WHITE.mix(0.9))
            .draw()?;
        root.present()?;
    }
    Ok(std::fs::write(path, svg)?)
}

fn titles(
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    record: &Value,
) -> Result<(), Box<dyn std::error::Error>> {
    let device = &record["device"];
    let title = TextStyle::from((FONT, 26, FontStyle::Bold)).color(&DARK);
    let subtitle = TextStyle::from((FONT, 17)).color(&GREY);
    root.draw(&Text::new("Bandwidth of a step; a copy is the roof", (92, 24), title))
        .map_err(plain)?;
    let origin = [text(device, "name"), text(device, "driver_info"), text(device, "backend")];
    let date: String = text(record, "date").chars().take(10).collect();
    let origin = format!("{}, {date}", origin.join(", "));
    Ok(root.draw(&Text::new(origin, (92, 60), subtitle)).map_err(plain)?)
}

fn plain(error: impl std::error::Error) -> String {
    error.to_string()
}

/// Bytes and bandwidth of a rule, or of the copy, at each size of one tensor, by the device's clock
/// if it has one.
fn points(record: &Value, name: &str) -> Vec<Point> {
    let lines = || record["lines"].as_array().into_iter().flatten();
    let has_own_clock = lines().any(|line| line["series"] == GPU_TIMESTAMPS);
    let clock = if has_own_clock { GPU_TIMESTAMPS } else { GPU_WALL };
    let belongs = |line: &&Value| {
        let is_copy = name == "copy" && text(line, "peer") == "copy";
        let is_rule = text(line, "peer") == "wgpu-optim" && text(line, "rule") == name;
        let one = text(line, "shape").starts_with("1x") && text(line, "impl") != "separate buffers";
        (is_copy || is_rule) && one && line["series"] == clock
    };
    let point = |line: &Value| Some((line["bytes"].as_f64()?, line["gb_s"].as_f64()?));
    let mut points: Vec<_> = lines().filter(belongs).filter_map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn short(bytes: f64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let unit = units.iter().find(|(size, _)| bytes >= *size);
    unit.map_or(format!("{bytes} B"), |(size, letters)| format!("{} {letters}", bytes / size))
}
