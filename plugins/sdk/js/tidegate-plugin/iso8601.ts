// Dates as ISO 8601 writes them, read as all of tidegate's plugins read them: `Date.parse` takes much that is none.

const TEXT =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:[Zz]|([+-])(\d{2})(?::?(\d{2}))?)?)?$/;

/**
 * Milliseconds since 1970, or undefined where the text is no date. It reads what RFC 3339 says, and what common programs
 * write beside that:
 *
 * - `2024-01-31T09:30:00Z`, with `z`, `t` or a space too, and with an offset: `+01:00`, `+0100` or `+01`;
 * - a fraction of a second of 1 to 9 digits after `.` or `,`, cut to milliseconds; seconds may be missing;
 * - no offset at all, and a date alone, `2024-01-31`: both are taken as UTC;
 * - a leap second, `23:59:60`, is the second after it, for BSON knows none.
 */
export function parseIso8601(text: string): number | undefined {
  const found = TEXT.exec(text);
  if (!found) {
    return undefined;
  }
  const number = (group: number) => Number(found[group] ?? 0);
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(number) as [
    number, number, number, number, number, number,
  ];
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) {
    return undefined;
  }
  if (hour > 23 || minute > 59 || (second > 59 && !(second === 60 && minute === 59))) {
    return undefined;
  }
  if (number(9) > 23 || number(10) > 59) {
    return undefined;
  }
  const fraction = Math.floor(Number((found[7] ?? "0").padEnd(9, "0")) / 1_000_000);
  const offset = (number(9) * 60 + number(10)) * (found[8] === "-" ? -1 : 1);
  // Date.UTC takes years below 100 for those of the 20th century; 400 years later it is the same calendar.
  const days = (Date.UTC(year + 400, month - 1, day) / 86_400_000 - 146_097) * 86_400_000;
  return days + ((hour * 60 + minute - offset) * 60 + second) * 1000 + fraction;
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) {
    return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  }
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}
