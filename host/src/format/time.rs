//! Points in time as ISO 8601 text.

/// Days since 1970 as year, month and day of the Gregorian calendar (counted backwards before its introduction).
fn civil(days: i64) -> (i64, u32, u32) {
    // Years are counted from 1 March, so that the leap day is the last of its year; 400 years have 146,097 days.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Writes milliseconds since 1970 as ISO 8601 in UTC, such as `2026-01-31T12:00:00.000Z`. A year outside 0 to 9999 is
/// written with its sign and at least six digits.
pub fn write_iso8601(out: &mut Vec<u8>, millis: i64, fraction: bool) {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000) as u64);
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        digits(out, year.unsigned_abs(), 4);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        digits(out, year.unsigned_abs(), 6);
    }
    for (separator, number) in [
        (b'-', u64::from(month)),
        (b'-', u64::from(day)),
        (b'T', rest / 3_600_000),
        (b':', rest / 60_000 % 60),
        (b':', rest / 1000 % 60),
    ] {
        out.push(separator);
        digits(out, number, 2);
    }
    if fraction {
        out.push(b'.');
        digits(out, rest % 1000, 3);
    }
    out.push(b'Z');
}

/// The same as text.
pub fn iso8601(millis: i64) -> String {
    let mut out = Vec::with_capacity(24);
    write_iso8601(&mut out, millis, true);
    String::from_utf8_lossy(&out).into_owned()
}

/// Milliseconds since 1970, by this machine's clock.
pub fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn digits(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::iso8601;

    #[test]
    fn agrees_with_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_769_860_800_000, "2026-01-31T12:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (i64::MAX, "+292278994-08-17T07:12:55.807Z"),
            (i64::MIN, "-292275055-05-16T16:47:04.192Z"),
        ] {
            assert_eq!(iso8601(millis), text);
        }
    }
}
