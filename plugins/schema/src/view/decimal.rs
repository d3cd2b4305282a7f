//! Decimal128 from and to text.

/// Digits of the greatest coefficient.
const DIGITS: usize = 34;
const GREATEST: u128 = 9_999_999_999_999_999_999_999_999_999_999_999;
const BIAS: i32 = 6176;
const HIGHEST_EXPONENT: i32 = 6111;

/// As the BSON specification writes it: `12.50`, `1E+6111`, `-Infinity`.
pub(crate) fn decimal_text(bytes: [u8; 16]) -> String {
    let bits = u128::from_le_bytes(bytes);
    let sign = if bits >> 127 == 1 { "-" } else { "" };
    match (bits >> 122) & 0x1f {
        0x1f => return "NaN".to_owned(),
        0x1e => return format!("{sign}Infinity"),
        _ => {}
    }
    // Two leading ones make a coefficient beyond the greatest, which counts as zero; its exponent lies two bits further down.
    let (exponent, coefficient) = match (bits >> 125) & 3 {
        3 => ((bits >> 111) & 0x3fff, 0),
        _ => ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1)),
    };
    let coefficient = if coefficient > GREATEST { 0 } else { coefficient };
    let exponent = i32::try_from(exponent).unwrap_or_default() - BIAS;
    let digits = coefficient.to_string();
    let count = i32::try_from(digits.len()).unwrap_or_default();
    let scientific = exponent + count - 1;
    if exponent > 0 || scientific < -6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}E{scientific:+}");
    }
    let behind = usize::try_from(-exponent).unwrap_or_default();
    if behind == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = behind + 1);
    let (whole, fraction) = digits.split_at(digits.len() - behind);
    format!("{sign}{whole}.{fraction}")
}

/// None for what is no number, or none that 34 digits hold exactly.
pub(crate) fn decimal_from_text(text: &str) -> Option<[u8; 16]> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let mut digits = all.trim_start_matches('0');
    // Zeros at the end stay as they were written, unless there is no room for them.
    while digits.len() > DIGITS || (exponent < -BIAS && !digits.is_empty()) {
        digits = digits.strip_suffix('0')?;
        exponent = exponent.checked_add(1)?;
    }
    let mut digits = digits.to_owned();
    while exponent > HIGHEST_EXPONENT && !digits.is_empty() && digits.len() < DIGITS {
        digits.push('0');
        exponent -= 1;
    }
    let coefficient: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let exponent = if coefficient == 0 { exponent.clamp(-BIAS, HIGHEST_EXPONENT) } else { exponent };
    if exponent > HIGHEST_EXPONENT {
        return None;
    }
    let biased = u128::try_from(exponent + BIAS).ok()?;
    Some((u128::from(negative) << 127 | biased << 113 | coefficient).to_le_bytes())
}
