//! The picture of a function: a panel for each rule, with the paths over the contours.

use crate::contours::Samples;
use crate::descent::{NEAR, Outcome};
use crate::function::{Function, Point};
use crate::lines;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io;
use std::ops::Range;

const FONT: &str = "Helvetica, Arial, sans-serif";
const DARK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(110, 110, 110);
const PATH: RGBColor = RGBColor(200, 60, 20);
const CLOUD: RGBColor = RGBColor(60, 70, 110);
/// The colors of the function's values, from the lowest to the highest.
const COLORS: [RGBColor; 3] =
    [RGBColor(255, 252, 240), RGBColor(205, 221, 226), RGBColor(122, 147, 172)];

/// Plotters draws at integer coordinates; several for each pixel make lines smooth. All lengths
/// here are in these coordinates.
const PIXELS: i32 = 2;
const COLUMNS: usize = 5;
const PANEL: [i32; 2] = [244 * PIXELS, 183 * PIXELS];
/// Between panels; a panel's title is in the gap above it.
const GAP: [i32; 2] = [18 * PIXELS, 60 * PIXELS];
const MARGIN: i32 = 40 * PIXELS;
const HEADER: i32 = 108 * PIXELS;
/// Dots on a path, including those that are omitted because they would overlap.
const DOTS: usize = 100;
/// How far a drawn line may be from the exact one, and how many corners it may have: without a
/// limit a path that oscillates for long would make the file large.
const FINE: Detail = Detail { tolerance: 0.7, max_corners: 600 };
const COARSE: Detail = Detail { tolerance: 1.5, max_corners: 200 };

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawingError = DrawingAreaErrorKind<io::Error>;
type Pixel = (i32, i32);

#[derive(Clone, Copy)]
struct Detail {
    tolerance: f64,
    max_corners: usize,
}

/// The content of a panel.
pub struct Panel {
    pub title: String,
    pub lr: f64,
    pub outcome: Outcome,
}

/// The picture of all panels, as SVG.
pub fn draw(function: Function, steps: usize, panels: &[Panel]) -> Result<String, String> {
    let columns = COLUMNS.min(panels.len()) as i32;
    let rows = panels.len().div_ceil(COLUMNS) as i32;
    // The header needs this width even above a single panel.
    let width = 2 * MARGIN + columns.max(4) * (PANEL[0] + GAP[0]) - GAP[0];
    let height = HEADER + rows * (PANEL[1] + GAP[1]) + MARGIN;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
    let drawn = draw_all(&area, function, steps, panels);
    drop(area);
    drawn.map_err(|error| format!("cannot draw the picture of {}: {error}", function.name()))?;
    // The size for display; the coordinates inside do not change.
    let size = |pixels: i32| format!(r#"width="{}" height="{}""#, width / pixels, height / pixels);
    Ok(svg.replacen(&size(1), &size(PIXELS), 1))
}

fn draw_all(
    area: &Area<'_>,
    function: Function,
    steps: usize,
    panels: &[Panel],
) -> Result<(), DrawingError> {
    area.fill(&WHITE)?;
    draw_header(area, function, steps)?;
    let levels = levels(function);
    let samples = Samples::new(function);
    let contours: Vec<_> = levels.iter().map(|&level| samples.below(level)).collect();
    for (index, panel) in panels.iter().enumerate() {
        let (column, row) = ((index % COLUMNS) as i32, (index / COLUMNS) as i32);
        let frame = Frame {
            area,
            function,
            left: MARGIN + column * (PANEL[0] + GAP[0]),
            top: HEADER + row * (PANEL[1] + GAP[1]) + GAP[1],
        };
        frame.draw_contours(&contours)?;
        frame.draw_paths(&panel.outcome)?;
        frame.draw_title(panel, steps)?;
        frame.draw_axes(column == 0, index + COLUMNS >= panels.len())?;
    }
    area.present()
}

/// Half powers of 10, from the highest to the lowest.
fn levels(function: Function) -> Vec<f64> {
    let [lowest, highest] = function.contour_exponents();
    let count = (2.0 * (highest - lowest)) as usize;
    (0..=count).map(|k| 10_f64.powf(highest - k as f64 / 2.0)).collect()
}

/// The color above all levels (`band` 0), or below the level of this number.
fn color_of(band: usize, levels: usize) -> RGBColor {
    let height = 2.0 * (1.0 - band as f64 / levels as f64);
    let (from, share) = if height < 1.0 { (0, height) } else { (1, height - 1.0) };
    let [from, to] = [COLORS[from], COLORS[from + 1]];
    let mix = |from: u8, to: u8| (f64::from(from) * (1.0 - share) + f64::from(to) * share) as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// A panel's position.
struct Frame<'a, 'b> {
    area: &'a Area<'b>,
    function: Function,
    left: i32,
    top: i32,
}

impl Frame<'_, '_> {
    fn draw_contours(&self, contours: &[Vec<Vec<Point>>]) -> Result<(), DrawingError> {
        let corners = [(self.left, self.top), (self.left + PANEL[0], self.top + PANEL[1])];
        let highest = color_of(0, contours.len()).filled();
        self.area.draw(&Rectangle::new(corners, highest))?;
        // From high to low: each level's polygons contain those of all lower levels.
        for (band, polygons) in contours.iter().enumerate() {
            for polygon in polygons {
                let corners = self.pixels(polygon, FINE);
                let color = color_of(band + 1, contours.len());
                self.area.draw(&Polygon::new(corners, color.filled()))?;
            }
        }
        Ok(())
    }

    fn draw_paths(&self, outcome: &Outcome) -> Result<(), DrawingError> {
        for start in 1..outcome.recorded_starts {
            self.draw_line(&outcome.path(start), COARSE, CLOUD.mix(0.28).stroke_width(2))?;
        }
        let path = outcome.path(0);
        self.draw_line(&path, FINE, PATH.stroke_width(3))?;
        self.draw_dots(&path)?;
        draw_star(self.area, self.pixel(self.function.minimum()))?;
        draw_start(self.area, self.pixel(self.function.marked_start()))
    }

    fn draw_line(
        &self,
        path: &[Point],
        detail: Detail,
        style: ShapeStyle,
    ) -> Result<(), DrawingError> {
        for piece in lines::clip(path, &self.function.view()) {
            self.area.draw(&PathElement::new(self.pixels(&piece, detail), style))?;
        }
        Ok(())
    }

    /// Dots at equal numbers of steps, which are far apart where steps are long.
    fn draw_dots(&self, path: &[Point]) -> Result<(), DrawingError> {
        const RADIUS: i32 = 5;
        let [xs, ys] = self.function.view();
        let mut last = None;
        for point in path.iter().step_by(dot_interval(path.len())) {
            let (x, y) = self.pixel(*point);
            let apart = |&(last_x, last_y): &Pixel| {
                (x - last_x).pow(2) + (y - last_y).pow(2) > (3 * RADIUS).pow(2)
            };
            let visible = xs.contains(&point[0]) && ys.contains(&point[1]);
            if visible && last.as_ref().is_none_or(apart) {
                self.area.draw(&Circle::new((x, y), RADIUS, PATH.filled()))?;
                last = Some((x, y));
            }
        }
        Ok(())
    }

    fn draw_title(&self, panel: &Panel, steps: usize) -> Result<(), DrawingError> {
        let end = match (panel.outcome.arrivals[0], panel.outcome.path(0).last()) {
            (Some(steps), _) => format!("reached in {steps} steps"),
            (None, Some(&last)) if panel.outcome.path(0).len() > steps => {
                format!("f = {} in the end", short(self.function.value(last)))
            }
            _ => "diverged".into(),
        };
        let [name, detail] = [self.top - 30 * PIXELS, self.top - 12 * PIXELS];
        text(self.area, &panel.title, (self.left, name), Text::NAME)?;
        let words = format!("lr {}, {end}", panel.lr);
        text(self.area, &words, (self.left, detail), Text::DETAIL)
    }

    /// The border, and numbers at the left and the bottom of the picture.
    fn draw_axes(&self, left: bool, bottom: bool) -> Result<(), DrawingError> {
        let corners = [(self.left, self.top), (self.left + PANEL[0], self.top + PANEL[1])];
        self.area.draw(&Rectangle::new(corners, GREY.stroke_width(1)))?;
        let [xs, ys] = self.function.view();
        let edge = self.top + PANEL[1];
        for x in whole_numbers(&xs).filter(|_| bottom) {
            let (pixel, _) = self.pixel([x, ys.start]);
            self.area.draw(&PathElement::new([(pixel, edge), (pixel, edge + 8)], GREY))?;
            text(self.area, &number(x), (pixel, edge + 20 * PIXELS - 12), Text::BELOW)?;
        }
        for y in whole_numbers(&ys).filter(|_| left) {
            let (_, pixel) = self.pixel([xs.start, y]);
            self.area
                .draw(&PathElement::new([(self.left - 8, pixel), (self.left, pixel)], GREY))?;
            text(self.area, &number(y), (self.left - 14, pixel), Text::BESIDE)?;
        }
        Ok(())
    }

    fn pixels(&self, line: &[Point], detail: Detail) -> Vec<Pixel> {
        let places: Vec<Point> = line.iter().map(|&point| self.place(point)).collect();
        let mut tolerance = detail.tolerance;
        let mut corners = lines::simplify(&places, tolerance);
        while corners.len() > detail.max_corners {
            tolerance *= 1.5;
            corners = lines::simplify(&corners, tolerance);
        }
        let rounded = |point: &Point| (point[0].round() as i32, point[1].round() as i32);
        corners.iter().map(rounded).collect()
    }

    fn pixel(&self, point: Point) -> Pixel {
        let [x, y] = self.place(point);
        (x.round() as i32, y.round() as i32)
    }

    /// A point of the plane in the picture's coordinates.
    fn place(&self, point: Point) -> Point {
        let [xs, ys] = self.function.view();
        let share = |x: f64, range: &Range<f64>| (x - range.start) / (range.end - range.start);
        [
            f64::from(self.left) + share(point[0], &xs) * f64::from(PANEL[0]),
            f64::from(self.top) + (1.0 - share(point[1], &ys)) * f64::from(PANEL[1]),
        ]
    }
}

/// The number of steps between dots.
fn dot_interval(steps: usize) -> usize {
    (steps / DOTS).max(1)
}

fn whole_numbers(range: &Range<f64>) -> impl Iterator<Item = f64> + use<> {
    (range.start.ceil() as i32..=range.end.floor() as i32).map(f64::from)
}

/// With a minus sign instead of a hyphen.
fn number(x: f64) -> String {
    x.to_string().replace('-', "−")
}

/// A number with two significant digits.
fn short(x: f64) -> String {
    if (0.01..100.0).contains(&x) {
        let decimals = (1.0 - x.log10().floor()).max(0.0) as usize;
        format!("{x:.decimals$}")
    } else {
        format!("{x:.1e}").replace('-', "−")
    }
}

/// Title, formula, and a legend.
fn draw_header(area: &Area<'_>, function: Function, steps: usize) -> Result<(), DrawingError> {
    text(area, function.title(), (MARGIN, 38 * PIXELS), Text::TITLE)?;
    text(area, function.formula(), (MARGIN, 64 * PIXELS), Text::FORMULA)?;
    let line = 100 * PIXELS;
    let mut x = MARGIN + 8 * PIXELS;
    draw_start(area, (x, line))?;
    text(area, "start", (x + 14 * PIXELS, line), Text::KEY)?;
    x += 62 * PIXELS;
    area.draw(&PathElement::new([(x, line), (x + 36 * PIXELS, line)], PATH.stroke_width(3)))?;
    for k in 0..3 {
        area.draw(&Circle::new((x + k * 18 * PIXELS, line), 5, PATH.filled()))?;
    }
    let words = format!("its path, a dot every {} steps", dot_interval(steps + 1));
    text(area, &words, (x + 46 * PIXELS, line), Text::KEY)?;
    x += 262 * PIXELS;
    area.draw(&PathElement::new(
        [(x, line), (x + 36 * PIXELS, line)],
        CLOUD.mix(0.5).stroke_width(2),
    ))?;
    text(area, "other starts", (x + 46 * PIXELS, line), Text::KEY)?;
    x += 152 * PIXELS;
    draw_star(area, (x, line))?;
    let words = format!("minimum; reached: within {NEAR} of it");
    text(area, &words, (x + 16 * PIXELS, line), Text::KEY)?;
    draw_scale(area, function)
}

/// The color scale with its levels.
fn draw_scale(area: &Area<'_>, function: Function) -> Result<(), DrawingError> {
    const BAND: i32 = 22 * PIXELS;
    const TOP: i32 = 44 * PIXELS;
    let levels = levels(function);
    let right = area.dim_in_pixel().0 as i32 - MARGIN;
    let left = right - (levels.len() as i32 + 1) * BAND;
    text(area, "f(x, y)", (left, TOP - 12 * PIXELS), Text::DETAIL)?;
    for k in 0..=levels.len() {
        let x = left + k as i32 * BAND;
        let color = color_of(levels.len() - k, levels.len());
        area.draw(&Rectangle::new([(x, TOP), (x + BAND, TOP + BAND / 2)], color.filled()))?;
    }
    // Every second level is a power of 10.
    for (k, level) in levels.iter().rev().enumerate().step_by(2) {
        let x = left + (k as i32 + 1) * BAND;
        text(area, &number(*level), (x, TOP + BAND / 2 + 10 * PIXELS), Text::SCALE)?;
    }
    area.draw(&Rectangle::new([(left, TOP), (right, TOP + BAND / 2)], GREY.stroke_width(1)))
}

fn draw_start(area: &Area<'_>, center: Pixel) -> Result<(), DrawingError> {
    area.draw(&Circle::new(center, 10, WHITE.filled()))?;
    area.draw(&Circle::new(center, 10, PATH.stroke_width(4)))
}

fn draw_star(area: &Area<'_>, (x, y): Pixel) -> Result<(), DrawingError> {
    let tip = |k: i32, radius: f64| {
        let angle = std::f64::consts::PI * f64::from(k) / 5.0;
        let [dx, dy] = [radius * angle.sin(), -radius * angle.cos()];
        (x + dx.round() as i32, y + dy.round() as i32)
    };
    let star = |radius: f64| -> Vec<Pixel> {
        (0..10).map(|k| tip(k, if k % 2 == 0 { radius } else { 0.45 * radius })).collect()
    };
    area.draw(&Polygon::new(star(21.0), WHITE.filled()))?;
    area.draw(&Polygon::new(star(15.0), DARK.filled()))
}

/// The style of a text, and its horizontal anchor.
#[derive(Clone, Copy)]
struct Text {
    size: i32,
    style: FontStyle,
    color: RGBColor,
    anchor: HPos,
}

impl Text {
    const TITLE: Self = Self::left(26, FontStyle::Bold, DARK);
    const FORMULA: Self = Self::left(16, FontStyle::Italic, GREY);
    const KEY: Self = Self::left(15, FontStyle::Normal, DARK);
    const NAME: Self = Self::left(18, FontStyle::Bold, DARK);
    const DETAIL: Self = Self::left(14, FontStyle::Normal, GREY);
    const BELOW: Self = Self { anchor: HPos::Center, ..Self::DETAIL };
    const BESIDE: Self = Self { anchor: HPos::Right, ..Self::DETAIL };
    const SCALE: Self = Self { anchor: HPos::Center, ..Self::DETAIL };

    const fn left(size: i32, style: FontStyle, color: RGBColor) -> Self {
        Self { size, style, color, anchor: HPos::Left }
    }
}

fn text(area: &Area<'_>, words: &str, place: Pixel, look: Text) -> Result<(), DrawingError> {
    let style = TextStyle::from((FONT, look.size * PIXELS, look.style))
        .color(&look.color)
        .pos(Pos::new(look.anchor, VPos::Center));
    area.draw(&plotters::element::Text::new(words, place, style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_digits() {
        assert_eq!([0.0123, 0.5, 3.21, 45.6].map(short), ["0.012", "0.50", "3.2", "46"]);
        assert_eq!(short(1.23e-5), "1.2e−5");
    }

    #[test]
    fn levels_are_half_powers_of_ten() {
        let levels = levels(Function::Rosenbrock);
        assert_eq!(levels.len(), 9);
        assert!((levels[0] - 1e3).abs() < 1e-9 && (levels[8] - 0.1).abs() < 1e-12);
    }
}
