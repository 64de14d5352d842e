//! Spans of time as people type them: `90s`, `5m`, `2h`, `7d`, `3w`, and sums such as `1h30m`.

use std::fmt::Write as _;
use std::time::Duration;

/// The units, largest first, in seconds.
const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The longest span that is read: 100 years, far more than any server takes.
const LONGEST: u64 = 100 * 366 * 86_400;

/// Why a text is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpanError {
    /// Not a number followed by a unit, once or more.
    #[error("write it as 90s, 5m, 2h, 7d, 3w, or a sum such as 1h30m")]
    Form,
    /// More than a hundred years.
    #[error("it is longer than 100 years")]
    TooLong,
}

/// Reads a span of time.
pub(crate) fn parse(text: &str) -> Result<Duration, SpanError> {
    let mut seconds: u64 = 0;
    let mut number: Option<u64> = None;
    for c in text.trim().chars() {
        if let Some(digit) = c.to_digit(10) {
            let longer = number.unwrap_or(0).saturating_mul(10).saturating_add(u64::from(digit));
            number = Some(longer);
            continue;
        }
        let unit = UNITS.iter().find(|(name, _)| *name == c.to_ascii_lowercase());
        let ((_, unit), count) = unit.zip(number.take()).ok_or(SpanError::Form)?;
        seconds = seconds.saturating_add(count.saturating_mul(*unit));
    }
    match (number, seconds) {
        // A number without a unit, or nothing at all.
        (Some(_), _) => Err(SpanError::Form),
        (None, _) if text.trim().is_empty() => Err(SpanError::Form),
        (None, seconds) if seconds > LONGEST => Err(SpanError::TooLong),
        (None, seconds) => Ok(Duration::from_secs(seconds)),
    }
}

/// Writes a span of whole seconds so that [`parse`] reads it: `1d2h`, `5m`, `0s`.
pub(crate) fn show(span: Duration) -> String {
    let mut rest = span.as_secs();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{name}", rest / unit);
            rest %= unit;
        }
    }
    text
}

/// The two largest units of a span, for tables: `3d4h`, `12s`.
pub(crate) fn brief(span: Duration) -> String {
    let seconds = span.as_secs();
    let largest = UNITS.iter().position(|(_, unit)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let (_, smallest) = UNITS[(largest + 1).min(UNITS.len() - 1)];
    show(Duration::from_secs(seconds - seconds % smallest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_sums_of_units() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("2h", 7200),
            ("7d", 604_800),
            ("3w", 1_814_400),
            ("1h30m", 5400),
            (" 1D2H ", 93_600),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", " ", "5", "m", "5m3", "-5m", "1.5h", "5 m", "5y", "٥m"] {
            assert_eq!(parse(text), Err(SpanError::Form), "{text}");
        }
        assert_eq!(parse("99999999999999999999999w"), Err(SpanError::TooLong));
        assert_eq!(parse("5300w"), Err(SpanError::TooLong));
    }

    #[test]
    fn brief_spans_have_two_units() {
        assert_eq!(brief(Duration::from_secs(93_784)), "1d2h");
        assert_eq!(brief(Duration::from_secs(59)), "59s");
        assert_eq!(brief(Duration::ZERO), "0s");
        assert_eq!(brief(Duration::from_secs(3601)), "1h");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0..=LONGEST) {
            let span = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&show(span)), Ok(span));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            // It must not panic.
            let _ = parse(&text);
        }
    }
}
