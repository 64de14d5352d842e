//! From figures to places: logarithmic axes and the marks on them.

use super::Unit;

/// What a decade is marked at.
const MARKS: [f64; 3] = [1.0, 2.0, 5.0];
/// Marks of an axis at most; with more of them only powers of ten are marked.
const MOST: usize = 8;

/// From figures to places on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// The figure at the beginning, and the one at the end.
    range: (f64, f64),
    /// Where these are.
    places: (f64, f64),
}

impl Scale {
    /// `range` is of figures above 0; the first one is at the first of `places`, the last one at the last.
    pub(super) fn new(range: (f64, f64), places: (f64, f64)) -> Self {
        Self { range, places }
    }

    /// Where a figure is.
    pub(super) fn place(&self, figure: f64) -> f64 {
        let ((low, high), (from, to)) = (self.range, self.places);
        let share = if high > low {
            (figure / low).ln() / (high / low).ln()
        } else {
            0.5
        };
        from + share * (to - from)
    }

    /// The figures that are marked.
    pub(super) fn marks(&self) -> Vec<f64> {
        let (low, high) = self.range;
        let inside = |mark: &f64| *mark >= low * 0.999 && *mark <= high * 1.001;
        let all: Vec<f64> = steps(low).take_while(|mark| *mark <= high * 1.001).filter(inside).collect();
        if all.len() <= MOST {
            return all;
        }
        // A power of ten has a logarithm without a fraction, but for rounding.
        all.into_iter()
            .filter(|mark| (mark.log10() - mark.log10().round()).abs() < 1e-6)
            .collect()
    }
}

/// The marks from the last one before `figure` on.
fn steps(figure: f64) -> impl Iterator<Item = f64> {
    let decade = 10_f64.powf(figure.log10().floor());
    std::iter::successors(Some(decade), |decade| Some(decade * 10.0)).flat_map(|decade| MARKS.map(|mark| mark * decade))
}

/// A range that begins and ends at marks and holds all `figures`; none if there is no figure above 0.
pub(super) fn round(figures: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let (least, greatest) = exact(figures)?;
    let low = steps(least).take_while(|mark| *mark <= least * 1.001).last()?;
    let high = steps(greatest).find(|mark| *mark >= greatest * 0.999)?;
    // A line needs some height.
    Some(if high > low {
        (low, high)
    } else {
        (low / 2.0, high * 2.0)
    })
}

/// The least and the greatest of `figures`; none if there is no figure above 0.
pub(super) fn exact(figures: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    figures
        .filter(|figure| *figure > 0.0 && figure.is_finite())
        .map(|figure| (figure, figure))
        .reduce(|(least, greatest), (figure, _)| (least.min(figure), greatest.max(figure)))
}

/// A figure in words.
pub(super) fn label(figure: f64, unit: Unit) -> String {
    let (scale, letters) = match unit {
        Unit::Number if figure >= 999_999.0 => (1e6, " M"),
        Unit::Number if figure >= 9_999.0 => (1e3, " k"),
        Unit::Number => (1.0, ""),
        Unit::Seconds if figure >= 0.999 => (1.0, " s"),
        Unit::Seconds if figure >= 0.000_999 => (1e-3, " ms"),
        Unit::Seconds => (1e-6, " µs"),
    };
    // Marks have one digit, or are the sweep's own whole numbers; the rest is rounding.
    let shown = (figure / scale * 10.0).round() / 10.0;
    if shown >= 1000.0 {
        // Below 10,000: one comma.
        let thousands = (shown / 1000.0).floor();
        return format!("{thousands},{:03}{letters}", shown - thousands * 1000.0);
    }
    format!("{shown}{letters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_begins_and_ends_at_marks_and_holds_everything() {
        let figures = [230.0, 4_100.0, 55_000.0];
        assert_eq!(round(figures.into_iter()), Some((200.0, 100_000.0)));
        assert_eq!(exact(figures.into_iter()), Some((230.0, 55_000.0)));
        assert_eq!(round([0.0, f64::NAN].into_iter()), None);
        let alone = round([100.0].into_iter()).unwrap();
        assert!(alone.0 < 100.0 && alone.1 > 100.0);
    }

    #[test]
    fn equal_ratios_are_equal_distances() {
        let scale = Scale::new((1.0, 100.0), (300.0, 100.0));
        assert!((scale.place(1.0) - 300.0).abs() < 1e-9);
        assert!((scale.place(10.0) - 200.0).abs() < 1e-9);
        assert!((scale.place(100.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_has_some_marks_and_not_too_many() {
        let marks = |range| Scale::new(range, (0.0, 1.0)).marks();
        let as_text = |range| marks(range).iter().map(|mark| format!("{mark:.0}")).collect::<Vec<_>>();
        assert_eq!(as_text((200.0, 5_000.0)), ["200", "500", "1000", "2000", "5000"]);
        assert_eq!(as_text((1.0, 10_000.0)), ["1", "10", "100", "1000", "10000"]);
        for range in [(1e-4, 2e-1), (1.0, 2.0), (5e4, 1e6)] {
            assert!((2..=MOST).contains(&marks(range).len()), "{range:?}");
        }
    }

    #[test]
    fn figures_are_short_words() {
        let numbers = [1.0, 300.0, 5_000.0, 20_000.0, 1_000_000.0].map(|number| label(number, Unit::Number));
        assert_eq!(numbers, ["1", "300", "5,000", "20 k", "1 M"]);
        let times = [0.000_05, 0.001, 0.02, 1.0].map(|time| label(time, Unit::Seconds));
        assert_eq!(times, ["50 µs", "1 ms", "20 ms", "1 s"]);
    }
}
