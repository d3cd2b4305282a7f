use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, as BSON counts time. Prints as `2024-01-31T09:30:00.250Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DateTime(pub i64);

/// Text that is no date of ISO 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidDateTime;

impl fmt::Display for InvalidDateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no date and time as ISO 8601 writes them, such as 2024-01-31T09:30:00Z")
    }
}

impl std::error::Error for InvalidDateTime {}

// Parsing is our own, and small: the date crates bring time zones, formatting descriptions and calendars, several times
// the size of a whole plugin, for this one function.
impl DateTime {
    /// Reads ISO 8601 as RFC 3339 narrows it, and what common programs write beside that:
    ///
    /// - `2024-01-31T09:30:00Z`, with `z`, `t` or a space too, and with an offset: `+01:00`, `+0100` or `+01`;
    /// - a fraction of a second of 1 to 9 digits after `.` or `,`, cut to milliseconds; seconds may be missing;
    /// - no offset at all (Python's `isoformat()`), and a date alone, `2024-01-31`: both are taken as UTC;
    /// - a leap second, `23:59:60`, is the second after it, for BSON knows none.
    ///
    /// # Errors
    /// Anything else, such as a 30th of February or an hour 24.
    pub fn parse_iso8601(text: &str) -> Result<Self, InvalidDateTime> {
        Reader { rest: text.as_bytes() }.date_time().map(Self).ok_or(InvalidDateTime)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn date_time(mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.one_of(b"-")?;
        let month = self.number(2)?;
        self.one_of(b"-")?;
        let day = self.number(2)?;
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let midnight = days_since_1970(year, month, day) * 86_400_000;
        if self.rest.is_empty() {
            return Some(midnight);
        }
        self.one_of(b"Tt ")?;
        let time = self.time()?;
        let offset = self.offset()?;
        self.rest.is_empty().then_some(midnight + time - offset)
    }

    /// Milliseconds since midnight.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        let mut milliseconds = 0;
        if self.one_of(b":").is_some() {
            let second = self.number(2)?;
            if second > 59 && (second, minute) != (60, 59) {
                return None;
            }
            milliseconds = second * 1000;
            if self.one_of(b".,").is_some() {
                milliseconds += self.fraction()?;
            }
        }
        (hour < 24 && minute < 60).then_some((hour * 60 + minute) * 60_000 + milliseconds)
    }

    fn fraction(&mut self) -> Option<i64> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        let digits = self.number(count)?;
        // To nine digits, then to the three that count.
        Some(digits * 10_i64.pow(9 - count as u32) / 1_000_000)
    }

    /// Milliseconds that local time is ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.rest.is_empty() || self.one_of(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.number(2)?;
        let minutes = if self.one_of(b":").is_some() || !self.rest.is_empty() { self.number(2)? } else { 0 };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
    }

    /// Exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        number.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    }

    /// Takes the next byte if it is one of these.
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        bytes.contains(&first).then(|| {
            self.rest = rest;
            first
        })
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Years are counted from March here, so that the leap day is the last of its year and months have a pattern: 153 days
// for each five of them.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
fn date_of_day(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of_day(self.0.div_euclid(86_400_000));
        let milliseconds = self.0.rem_euclid(86_400_000);
        let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
    }
}
