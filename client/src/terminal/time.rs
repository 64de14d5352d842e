//! Times: RFC 3339 in UTC for programs, local ones for people.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use prost_types::Timestamp as Wire;
use serde_json::Value;

/// A time from the server. Times that no calendar has are taken as its nearest end.
pub fn instant(time: Option<&Wire>) -> Option<Timestamp> {
    let time = time?;
    Some(Timestamp::new(time.seconds, time.nanos).unwrap_or(if time.seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    }))
}

/// RFC 3339 in UTC with microseconds, such as `2026-11-22T18:10:33.000000Z`, or null.
pub fn json(time: Option<&Wire>) -> Value {
    instant(time).map_or(Value::Null, |time| {
        Value::String(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
    })
}

/// The time where the user is.
pub fn local(time: Option<&Wire>) -> Option<Zoned> {
    instant(time).map(|time| time.to_zoned(TimeZone::system()))
}

/// Day and time where the user is, such as `2026-11-22 19:10:33`; `-` if there is none.
pub fn day_and_time(time: Option<&Wire>) -> String {
    local(time).map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The time of day where the user is, such as `19:10`; `--:--` if there is none.
pub fn time_of_day(time: Option<&Wire>) -> String {
    local(time).map_or_else(|| "--:--".to_owned(), |time| time.strftime("%H:%M").to_string())
}

/// The shortest pause whose end is told as a time.
const WORTH_A_TIME: Duration = Duration::from_secs(10);

/// The end of a pause that begins now, such as `in 90 s, at 22:31:05`; the time only where it is worth looking at a clock.
pub fn from_now(pause: Duration) -> String {
    let seconds = pause.as_secs_f32();
    if pause < WORTH_A_TIME {
        return format!("in {seconds:.1} s");
    }
    let at = Timestamp::now().checked_add(pause).ok();
    let at = at.map(|at| at.to_zoned(TimeZone::system()).strftime(", at %H:%M:%S").to_string());
    format!("in {seconds:.0} s{}", at.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_pause_is_told_as_a_time() {
        assert_eq!(from_now(Duration::from_millis(500)), "in 0.5 s");
        assert!(from_now(Duration::from_secs(90)).starts_with("in 90 s, at "));
    }

    #[test]
    fn times_for_programs_have_microseconds() {
        let time = Wire {
            seconds: 1_795_371_033,
            nanos: 1_999,
        };
        assert_eq!(json(Some(&time)), "2026-11-22T18:10:33.000001Z");
        assert_eq!(json(None), Value::Null);
    }

    #[test]
    fn impossible_times_do_no_harm() {
        for time in [
            Wire {
                seconds: i64::MAX,
                nanos: i32::MAX,
            },
            Wire {
                seconds: i64::MIN,
                nanos: i32::MIN,
            },
        ] {
            assert!(json(Some(&time)).is_string());
            assert!(!day_and_time(Some(&time)).is_empty());
        }
    }
}
