//! Pictures of figures: lines over logarithmic axes, as SVG.
//!
//! A picture is a text that any browser shows: its words are words, it follows the reader's choice of light or dark, and it has no scripts and
//! fetches nothing.

mod scale;
mod svg;

pub(crate) use self::svg::draw;

/// A picture: panels beside each other.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// What it shows.
    pub(crate) title: String,
    /// What was done, and how it was measured.
    pub(crate) subtitles: [String; 2],
    /// One or two panels.
    pub(crate) panels: Vec<Panel>,
}

/// Lines over one pair of axes.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// What goes to the right.
    pub(crate) across: Axis,
    /// What goes up.
    pub(crate) up: Axis,
    /// The lines, the most important one first.
    pub(crate) lines: Vec<Line>,
}

/// An axis. All are logarithmic: equal ratios are equal distances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// What its figures are.
    pub(crate) label: &'static str,
    /// In what they are counted.
    pub(crate) unit: Unit,
}

/// In what figures are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things; thousands and millions have letters.
    Number,
    /// Seconds, and parts of them.
    Seconds,
}

/// What one subject gave.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its name, which stands at the line's end.
    pub(crate) name: String,
    /// Which of the colours and marks it has: the same in each picture.
    pub(crate) style: usize,
    /// Whether it is no server but what one can be: dashed.
    pub(crate) is_floor: bool,
    /// Its points, from left to right.
    pub(crate) points: Vec<Point>,
}

/// The runs at one place of the horizontal axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// The place.
    pub(crate) at: f64,
    /// The median of the runs.
    pub(crate) median: f64,
    /// The least of them.
    pub(crate) least: f64,
    /// The greatest of them.
    pub(crate) greatest: f64,
    /// Whether they are not to be trusted: the mark is hollow.
    pub(crate) doubtful: bool,
}
