//! Moments as people type them after `--since`: RFC 3339, a date, a date and a time where they are, or a span back from now. And the ends of a
//! period, which may be open.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use prost_types::Timestamp as Wire;

use crate::span;

/// A text that is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write it as 2026-11-22, \"2026-11-22 18:30\" (where you are), 2026-11-22T18:30:00Z, a span back from now such as 2h, \"in 2h\", or now"
)]
pub(crate) struct MomentError;

/// An end of a period; `None` is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<Timestamp>);

/// Reads a moment; dates and times without an offset are those of the machine's time zone.
pub(crate) fn parse(text: &str) -> Result<Timestamp, MomentError> {
    parse_at(text, Timestamp::now(), &TimeZone::system())
}

/// Reads a moment to come: a span is one from now.
pub(crate) fn parse_ahead(text: &str) -> Result<Timestamp, MomentError> {
    match span::parse(text) {
        Ok(_) => parse(&format!("in {}", text.trim())),
        Err(_) => parse(text),
    }
}

/// Reads the beginning of a period: a moment, or `start`.
pub(crate) fn parse_from(text: &str) -> Result<Bound, MomentError> {
    bound(text, "start")
}

/// Reads the end of a period: a moment, or `end`.
pub(crate) fn parse_to(text: &str) -> Result<Bound, MomentError> {
    bound(text, "end")
}

fn bound(text: &str, open: &str) -> Result<Bound, MomentError> {
    if text.trim().eq_ignore_ascii_case(open) {
        return Ok(Bound(None));
    }
    parse(text).map(|moment| Bound(Some(moment)))
}

fn parse_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, MomentError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    if let Some(span) = text.strip_prefix("in ") {
        let span = span::parse(span).map_err(|_| MomentError)?;
        let span = SignedDuration::try_from(span).map_err(|_| MomentError)?;
        return now.checked_add(span).map_err(|_| MomentError);
    }
    if let Ok(span) = span::parse(text) {
        let span = SignedDuration::try_from(span).map_err(|_| MomentError)?;
        return now.checked_sub(span).map_err(|_| MomentError);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let civil = match text.parse::<DateTime>() {
        Ok(civil) => civil,
        Err(_) => text.parse::<Date>().map_err(|_| MomentError)?.at(0, 0, 0, 0),
    };
    zone.to_ambiguous_zoned(civil)
        .compatible()
        .map(|zoned| zoned.timestamp())
        .map_err(|_| MomentError)
}

/// The moment as the server takes it.
pub(crate) fn to_wire(moment: Timestamp) -> Wire {
    let (mut seconds, mut nanos) = (moment.as_second(), moment.subsec_nanosecond());
    // On the wire the part of a second counts up from the whole one before, also before 1970.
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    Wire { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse()?;
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, moment) in [
            ("2h", "2026-11-22T10:00:00Z"),
            ("1d12h", "2026-11-21T00:00:00Z"),
            ("2026-11-20", "2026-11-19T22:00:00Z"),
            ("2026-11-20 18:30", "2026-11-20T16:30:00Z"),
            ("2026-11-20 18:30:05", "2026-11-20T16:30:05Z"),
            ("2026-11-20T18:30:00Z", "2026-11-20T18:30:00Z"),
            ("2026-11-20T18:30:00+05:00", "2026-11-20T13:30:00Z"),
            ("now", "2026-11-22T12:00:00Z"),
            ("in 30d", "2026-12-22T12:00:00Z"),
        ] {
            assert_eq!(parse_at(text, now, &zone), Ok(moment.parse()?), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "18:30",
            "5000000w",
            "in",
            "in 5",
            "in 2026-11-20",
            "end",
        ] {
            assert_eq!(parse_at(text, now, &zone), Err(MomentError), "{text}");
        }
        Ok(())
    }

    #[test]
    fn periods_may_be_open_and_spans_to_come_are_from_now() {
        assert_eq!(parse_from("start"), Ok(Bound(None)));
        assert_eq!(parse_to(" END "), Ok(Bound(None)));
        assert_eq!(
            (parse_from("end"), parse_to("start")),
            (Err(MomentError), Err(MomentError))
        );
        let at: Timestamp = Timestamp::constant(1_800_000_000, 0);
        assert_eq!(parse_to("2027-01-15T08:00:00Z"), Ok(Bound(Some(at))));
        let now = Timestamp::now();
        for text in ["30d", "in 30d"] {
            assert!(
                parse_ahead(text).is_ok_and(|moment| moment.duration_since(now).as_hours() >= 30 * 24),
                "{text}"
            );
        }
    }

    #[test]
    fn parts_of_a_second_count_up() {
        let wire = to_wire(Timestamp::constant(-1, -500_000_000));
        assert_eq!((wire.seconds, wire.nanos), (-2, 500_000_000));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            // It must not panic.
            let _ = parse(&text);
        }
    }
}
