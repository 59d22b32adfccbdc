//! Durations and sizes as text: a whole number and its unit, never one without the other.
//!
//! The command line reads its flags with the same functions as the file's values are read with.

use std::time::Duration;

/// Why a text is no duration or no size. Says what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("expected a whole number with a unit (us, ms, s or m), as in 50ms")]
    Duration,
    /// Not a size.
    #[error("expected a whole number with a unit (B, KiB or MiB), as in 128KiB")]
    Size,
}

/// Reads a duration: a whole number and `us`, `ms`, `s` or `m`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let micros = parse(text, &DURATION_UNITS).ok_or(UnitError::Duration)?;
    Ok(Duration::from_micros(micros))
}

/// Reads a size in bytes: a whole number and `B`, `KiB` or `MiB`.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZE_UNITS).ok_or(UnitError::Size)
}

/// Writes a duration as [`parse_duration`] reads it, to the microsecond, in the unit that needs the fewest digits.
pub fn format_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    // "60s" says more about a timeout than "1m" does.
    let units = if micros < 2 * MINUTE { &DURATION_UNITS[1..] } else { &DURATION_UNITS[..] };
    format(micros, units)
}

/// Writes a size as [`parse_size`] reads it.
pub fn format_size(bytes: u64) -> String {
    format(bytes, &SIZE_UNITS)
}

/// A unit's name, and how many of the smallest unit it is.
type Unit = (&'static str, u64);

const MINUTE: u64 = 60_000_000;

/// In microseconds, the longest first.
const DURATION_UNITS: [Unit; 4] = [("m", MINUTE), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// In bytes, the largest first.
const SIZE_UNITS: [Unit; 3] = [("MiB", 1024 * 1024), ("KiB", 1024), ("B", 1)];

fn parse(text: &str, units: &[Unit]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, name) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(unit, _)| *unit == name)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(amount: u64, units: &[Unit]) -> String {
    let whole = units.iter().find(|(_, factor)| amount.is_multiple_of(*factor));
    let (name, factor) = whole.copied().unwrap_or(("", 1));
    format!("{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in [
            "",
            "50",
            "ms",
            "1.5s",
            "-1s",
            "5 ms",
            "5MS",
            "1h",
            "1m30s",
            "never",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert_eq!(parse_duration(bad), Err(UnitError::Duration), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("256B"), Ok(256));
        assert_eq!(parse_size("128KiB"), Ok(131_072));
        assert_eq!(parse_size("16MiB"), Ok(16_777_216));
        for bad in ["", "16380", "128KB", "128k", "1GiB", "1.5MiB", "0x10B"] {
            assert_eq!(parse_size(bad), Err(UnitError::Size), "{bad}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for (text, micros) in
            [("0s", 0), ("1us", 1), ("1500us", 1_500), ("50ms", 50_000), ("60s", MINUTE), ("2m", 2 * MINUTE), ("90s", 90_000_000)]
        {
            let duration = Duration::from_micros(micros);
            assert_eq!(format_duration(duration), text);
            assert_eq!(parse_duration(text), Ok(duration));
        }
        for (text, bytes) in [("256B", 256), ("128KiB", 131_072), ("16MiB", 16_777_216), ("16380B", 16_380)] {
            assert_eq!(format_size(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
    }
}
