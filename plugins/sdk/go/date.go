package tidegate

import "time"

// ParseISO8601 reads ISO 8601 as RFC 3339 narrows it, and what common programs write beside that:
//
//   - 2024-01-31T09:30:00Z, with z, t or a space too, and with an offset: +01:00, +0100 or +01;
//   - a fraction of a second of 1 to 9 digits after . or a comma, cut to milliseconds; seconds may be missing;
//   - no offset at all, and a date alone, 2024-01-31: both are taken as UTC;
//   - a leap second, 23:59:60, is the second after it.
func ParseISO8601(text string) (time.Time, bool) {
	r := reader{rest: text, ok: true}
	year := r.number(4)
	r.take("-")
	month := r.number(2)
	r.take("-")
	day := r.number(2)
	// The day before the first of the next month is the last of this one.
	last := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if !r.ok || month < 1 || month > 12 || day < 1 || day > last {
		return time.Time{}, false
	}
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if r.rest == "" {
		return date, true
	}
	r.take("Tt ")
	date = date.Add(r.time() - r.offset())
	return date, r.ok && r.rest == ""
}

type reader struct {
	rest string
	ok   bool
}

// may takes the next byte if it is one of these; else it is 0.
func (r *reader) may(bytes string) byte {
	for i := 0; r.rest != "" && i < len(bytes); i++ {
		if r.rest[0] == bytes[i] {
			r.rest = r.rest[1:]
			return bytes[i]
		}
	}
	return 0
}

func (r *reader) take(bytes string) byte {
	taken := r.may(bytes)
	r.ok = r.ok && taken != 0
	return taken
}

// number takes exactly so many digits.
func (r *reader) number(digits int) int {
	sum := 0
	if len(r.rest) < digits {
		r.ok = false
		return 0
	}
	for i := range digits {
		if r.rest[i] < '0' || r.rest[i] > '9' {
			r.ok = false
			return 0
		}
		sum = sum*10 + int(r.rest[i]-'0')
	}
	r.rest = r.rest[digits:]
	return sum
}

func (r *reader) time() time.Duration {
	hour := r.number(2)
	r.take(":")
	minute := r.number(2)
	second, fraction := 0, 0
	if r.may(":") != 0 {
		second = r.number(2)
		if r.may(".,") != 0 {
			digits := 0
			for digits < len(r.rest) && r.rest[digits] >= '0' && r.rest[digits] <= '9' {
				digits++
			}
			r.ok = r.ok && digits >= 1 && digits <= 9
			if r.ok {
				fraction = r.number(digits)
				for range 9 - digits {
					fraction *= 10
				}
			}
		}
	}
	r.ok = r.ok && hour < 24 && minute < 60 && (second < 60 || second == 60 && minute == 59)
	whole := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	return whole + time.Duration(fraction).Truncate(time.Millisecond)
}

// offset is how far local time is ahead of UTC.
func (r *reader) offset() time.Duration {
	if r.rest == "" || r.may("Zz") != 0 {
		return 0
	}
	sign := r.take("+-")
	hours, minutes := r.number(2), 0
	if r.may(":") != 0 || r.rest != "" {
		minutes = r.number(2)
	}
	r.ok = r.ok && hours < 24 && minutes < 60
	ahead := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if sign == '-' {
		return -ahead
	}
	return ahead
}
