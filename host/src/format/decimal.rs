//! Decimal128 as text.

/// The greatest coefficient: 34 nines. A greater one counts as zero.
const GREATEST: u128 = 9_999_999_999_999_999_999_999_999_999_999_999;
const BIAS: i32 = 6176;

/// Writes IEEE 754 decimal128 (binary integer significand) as the BSON specification says: plain digits where the
/// exponent is not positive and the first digit is not further than six places behind the point, else scientific.
pub(super) fn write_decimal128(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let bits = u128::from_le_bytes(bytes);
    let high = (bits >> 64) as u64;
    let special = (high >> 58) & 0x1F;
    if special == 0x1F {
        out.extend_from_slice(b"NaN");
        return;
    }
    if high >> 63 == 1 {
        out.push(b'-');
    }
    if special == 0x1E {
        out.extend_from_slice(b"Infinity");
        return;
    }
    // Two leading ones make a coefficient that is beyond the greatest: zero, with an exponent two bits further down.
    let (exponent, coefficient) =
        if special >> 3 == 3 { ((high >> 47) & 0x3FFF, 0) } else { ((high >> 49) & 0x3FFF, bits & ((1 << 113) - 1)) };
    let coefficient = if coefficient > GREATEST { 0 } else { coefficient };
    let exponent = exponent as i32 - BIAS;
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(coefficient).as_bytes();
    let count = digits.len() as i32;
    let scientific = exponent + count - 1;
    if exponent > 0 || scientific < -6 {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'E');
        if scientific >= 0 {
            out.push(b'+');
        }
        out.extend_from_slice(itoa::Buffer::new().format(scientific).as_bytes());
    } else if exponent == 0 {
        out.extend_from_slice(digits);
    } else {
        let whole = count + exponent;
        if whole > 0 {
            let (before, after) = digits.split_at(usize::try_from(whole).unwrap_or(0).min(digits.len()));
            out.extend_from_slice(before);
            out.push(b'.');
            out.extend_from_slice(after);
        } else {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', usize::try_from(-whole).unwrap_or(0)));
            out.extend_from_slice(digits);
        }
    }
}
