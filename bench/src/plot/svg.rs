//! Drawing: a picture as the text of an SVG file.

use std::fmt::{self, Write};

use super::scale::{self, Scale};
use super::{Panel, Picture, Point};

/// Height of a picture, in its own units, which are pixels where it is shown in its size.
const HEIGHT: f64 = 420.0;
/// Width of a panel that is alone, and of one beside another.
const WIDTHS: [f64; 2] = [760.0, 470.0];
/// Room round the lines: for the numbers at the left, the names at the right, the title above, and the axis below.
const LEFT: f64 = 66.0;
const RIGHT: f64 = 76.0;
const ABOVE: f64 = 108.0;
const BELOW: f64 = 54.0;
/// Least distance of two names.
const LINE_HEIGHT: f64 = 16.0;
/// Half of a mark's width.
const MARK: f64 = 4.0;

/// Colours of the lines, on light ground and on dark: blue, grey, green, vermilion, purple, ochre. People who see few colours tell them apart,
/// too, and the marks have different shapes.
const COLOURS: [(&str, &str); 6] = [
    ("#0969da", "#58a6ff"),
    ("#6e7781", "#9da7b3"),
    ("#008060", "#3fb68b"),
    ("#c4520a", "#f0883e"),
    ("#8250df", "#bc8cff"),
    ("#9a6700", "#d4a72c"),
];

/// A picture as the text of an SVG file.
pub(crate) fn draw(picture: &Picture) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_picture(&mut out, picture);
    out
}

fn write_picture(out: &mut String, picture: &Picture) -> fmt::Result {
    let each = WIDTHS[usize::from(picture.panels.len() > 1)];
    let width = picture.panels.iter().map(|_| each).sum::<f64>().max(each);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img" aria-labelledby="title what">"#
    )?;
    writeln!(out, "<style>\n{}</style>", style()?)?;
    writeln!(out, r#"<rect class="ground" width="{width}" height="{HEIGHT}"/>"#)?;
    let title = escaped(&picture.title);
    let [what, how] = picture.subtitles.each_ref().map(|subtitle| escaped(subtitle));
    writeln!(out, r#"<text id="title" class="title" x="16" y="28">{title}</text>"#)?;
    writeln!(out, r#"<text id="what" class="small" x="16" y="48">{what}</text>"#)?;
    writeln!(out, r#"<text class="small" x="16" y="65">{how}</text>"#)?;
    let mut from = 0.0;
    for panel in &picture.panels {
        write_panel(out, panel, from, from + each)?;
        from += each;
    }
    writeln!(out, "</svg>")
}

/// What it looks like: on light ground, and on dark where the reader has chosen that.
fn style() -> Result<String, fmt::Error> {
    let mut light = String::new();
    let mut dark = String::new();
    for (number, (on_light, on_dark)) in COLOURS.into_iter().enumerate() {
        for (out, colour) in [(&mut light, on_light), (&mut dark, on_dark)] {
            writeln!(
                out,
                ".line{number} {{ stroke: {colour} }} .band{number}, .mark{number}, .name{number} {{ fill: {colour} }}"
            )?;
        }
    }
    Ok(format!(
        "text {{ font: 12px system-ui, -apple-system, \"Segoe UI\", \"Liberation Sans\", sans-serif; fill: #1f2328 }}
text.title {{ font-size: 15px; font-weight: 600 }}
text.small, text.axis {{ fill: #59636e }}
text.name {{ font-weight: 600 }}
.ground {{ fill: #ffffff }}
.grid {{ stroke: #d1d9e0; stroke-width: 1 }}
.line {{ fill: none; stroke-width: 2; stroke-linejoin: round }}
.aside {{ stroke-dasharray: 6 4 }}
.band {{ fill-opacity: 0.16 }}
.hollow {{ fill: #ffffff; stroke-width: 2 }}
{light}@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }}
text.small, text.axis {{ fill: #9da7b3 }}
.ground {{ fill: #0d1117 }}
.grid {{ stroke: #2b323b }}
.hollow {{ fill: #0d1117 }}
{dark}}}
"
    ))
}

fn write_panel(out: &mut String, panel: &Panel, from: f64, to: f64) -> fmt::Result {
    let (left, right, top, bottom) = (from + LEFT, to - RIGHT, ABOVE, HEIGHT - BELOW);
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let up = scale::round(points().flat_map(|point| [point.least, point.greatest]));
    let across = scale::exact(points().map(|point| point.at));
    let (Some(up), Some(across)) = (up, across) else {
        return writeln!(out, r#"<text x="{left}" y="{top}">nothing was measured</text>"#);
    };
    let (up, across) = (Scale::new(up, (bottom, top)), Scale::new(across, (left, right)));
    for mark in up.marks() {
        let (y, label) = (up.place(mark), scale::label(mark, panel.up.unit));
        writeln!(
            out,
            r#"<path class="grid" d="M{left:.1} {y:.1}H{right:.1}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
            left - 8.0,
            y + 4.0,
        )?;
    }
    for at in places(panel) {
        let (x, label) = (across.place(at), scale::label(at, panel.across.unit));
        writeln!(
            out,
            r#"<path class="grid" d="M{x:.1} {bottom:.1}v5"/><text class="axis" x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            bottom + 20.0
        )?;
    }
    let (up_label, across_label) = (panel.up.label, panel.across.label);
    writeln!(
        out,
        r#"<text class="axis" x="{:.1}" y="{:.1}">{up_label}</text>"#,
        from + 16.0,
        top - 14.0
    )?;
    writeln!(
        out,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{across_label}</text>"#,
        f64::midpoint(left, right),
        bottom + 42.0
    )?;
    let place = |point: &Point, figure: f64| (across.place(point.at), up.place(figure));
    // The most important line is drawn last, over the others.
    for line in panel.lines.iter().rev() {
        let style = line.style % COLOURS.len();
        if line.points.iter().any(|point| point.greatest > point.least) {
            let greatest = line.points.iter().map(|point| place(point, point.greatest));
            let least = line.points.iter().rev().map(|point| place(point, point.least));
            let band = path(greatest.chain(least));
            writeln!(out, r#"<path class="band band{style}" d="{band}Z"/>"#)?;
        }
        let medians = path(line.points.iter().map(|point| place(point, point.median)));
        let aside = if line.is_floor { " aside" } else { "" };
        writeln!(out, r#"<path class="line line{style}{aside}" d="{medians}"/>"#)?;
        for point in &line.points {
            let fill = if point.doubtful {
                format!("hollow line{style}")
            } else {
                format!("mark{style}")
            };
            let shape = mark(style, place(point, point.median));
            writeln!(out, r#"<path class="{fill}" d="{shape}"/>"#)?;
        }
    }
    let ends: Vec<f64> = panel
        .lines
        .iter()
        .map(|line| line.points.last().map_or(bottom, |point| up.place(point.median)))
        .collect();
    for (line, y) in panel.lines.iter().zip(apart(&ends)) {
        let (style, name) = (line.style % COLOURS.len(), escaped(&line.name));
        let x = line.points.last().map_or(right, |point| across.place(point.at));
        writeln!(
            out,
            r#"<text class="name name{style}" x="{:.1}" y="{:.1}">{name}</text>"#,
            x + 10.0,
            y + 4.0
        )?;
    }
    Ok(())
}

/// The places of all points, each once.
fn places(panel: &Panel) -> Vec<f64> {
    let mut places: Vec<f64> = panel.lines.iter().flat_map(|line| &line.points).map(|point| point.at).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

/// A path through places.
fn path(places: impl Iterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in places {
        let letter = if out.is_empty() { 'M' } else { 'L' };
        // Writing to a string does not fail.
        let _ = write!(out, "{letter}{x:.1} {y:.1}");
    }
    out
}

/// The mark of a style: a circle, a square, a triangle, a diamond.
fn mark(style: usize, (x, y): (f64, f64)) -> String {
    let size = MARK;
    match style % 4 {
        0 => format!(
            "M{:.1} {y:.1}a{size} {size} 0 1 0 {} 0a{size} {size} 0 1 0 -{} 0Z",
            x - size,
            2.0 * size,
            2.0 * size
        ),
        1 => format!(
            "M{:.1} {:.1}h{}v{}h-{}Z",
            x - size,
            y - size,
            2.0 * size,
            2.0 * size,
            2.0 * size
        ),
        2 => format!("M{x:.1} {:.1}l5 9h-10Z", y - 6.0),
        _ => format!("M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z", y - 5.5),
    }
}

/// Moves heights apart, so that no two names overlap, in the order in which they are.
fn apart(heights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|one, other| heights[*one].total_cmp(&heights[*other]));
    let mut moved = heights.to_vec();
    // Each pass pushes neighbours that are too close apart by half of what is missing; a few names settle in a few passes.
    for _ in 0..100 {
        for pair in order.windows(2) {
            let missing = LINE_HEIGHT - (moved[pair[1]] - moved[pair[0]]);
            if missing > 0.0 {
                moved[pair[0]] -= missing / 2.0;
                moved[pair[1]] += missing / 2.0;
            }
        }
    }
    moved
}

/// A text in which nothing is markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Line, Unit};
    use super::*;

    fn line(name: &str, style: usize, figures: [f64; 3]) -> Line {
        let point = |(at, median): (f64, f64)| Point {
            at,
            median,
            least: median * 0.9,
            greatest: median * 1.1,
            doubtful: at > 500.0,
        };
        Line {
            name: name.to_owned(),
            style,
            is_floor: name == "floor",
            points: [10.0, 100.0, 1000.0].into_iter().zip(figures).map(point).collect(),
        }
    }

    fn picture(lines: Vec<Line>) -> Picture {
        let axis = |label| Axis {
            label,
            unit: Unit::Number,
        };
        Picture {
            title: "a < b & c".to_owned(),
            subtitles: Default::default(),
            panels: vec![Panel {
                across: axis("members"),
                up: axis("deliveries a second"),
                lines,
            }],
        }
    }

    #[test]
    fn a_picture_has_each_line_its_band_its_name_and_a_mark_for_each_point() {
        let drawn = draw(&picture(vec![
            line("greffe", 0, [1e5, 2e5, 3e5]),
            line("floor", 1, [2e5, 4e5, 5e5]),
        ]));
        let count = |part: &str| drawn.matches(part).count();
        assert_eq!((count("class=\"line line"), count("class=\"band band")), (2, 2));
        assert_eq!((count("class=\"mark"), count("class=\"hollow")), (4, 2));
        assert_eq!((count("line0\""), count("line1 aside\"")), (2, 1));
        assert!(drawn.contains(">greffe</text>") && drawn.contains(">floor</text>"));
        assert!(drawn.contains(">100</text>") && drawn.contains(">500 k</text>"));
        assert!(drawn.contains("a &lt; b &amp; c"));
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
    }

    #[test]
    fn a_picture_of_nothing_says_so() {
        assert!(draw(&picture(Vec::new())).contains("nothing was measured"));
    }

    #[test]
    fn names_do_not_overlap_and_keep_their_order() {
        let moved = apart(&[100.0, 101.0, 300.0, 99.0]);
        let mut sorted = moved.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(
            sorted.windows(2).all(|pair| pair[1] - pair[0] > LINE_HEIGHT - 0.1),
            "{moved:?}"
        );
        assert!(moved[3] < moved[0] && moved[0] < moved[1]);
        assert!((moved[2] - 300.0).abs() < 1e-9);
    }
}
