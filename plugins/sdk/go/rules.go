package tidegate

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Type is what a field's value may be.
type Type struct {
	wanted string
	fits   func(Value) bool
	// tells says what was found, where that is more than the name of its type; else it is empty.
	tells func(Value) string
}

func typed(wanted, name string) Type {
	return Type{wanted, func(v Value) bool { return v.TypeName() == name }, nil}
}

var (
	IsString   = Type{"a string", func(v Value) bool { return len(v) > 0 && v[0] == '"' }, nil}
	IsBool     = typed("a boolean", "bool")
	IsDate     = Type{"a date", isDate, nil}
	IsObjectID = typed("an ObjectId", "objectId")
	IsDocument = typed("a document", "object")
	IsArray    = typed("an array", "array")
	// IsInteger is an Int32, an Int64, or a Double without a fraction.
	IsInteger = Type{"an integer", func(v Value) bool { _, ok := v.Int64(); return ok }, tellNumber}
	// IsNumber is an Int32, Int64, Double or Decimal128.
	IsNumber = Type{"a number", isNumber, nil}
	// IsISO8601 is text with a date.
	IsISO8601       = Type{"a date and time in ISO 8601 text", isISO8601, tellText}
	IsDateOrISO8601 = Type{"a date or a date and time in ISO 8601 text", func(v Value) bool { return isDate(v) || isISO8601(v) }, tellText}
)

// IsOneOf is text, one of these.
func IsOneOf(words ...string) Type {
	return Type{"one of " + strings.Join(words, ", "), func(v Value) bool {
		text, ok := v.Text()
		for _, word := range words {
			if ok && word == text {
				return true
			}
		}
		return false
	}, tellText}
}

// IsIntegerFrom is a whole number, this one at least.
func IsIntegerFrom(least int64) Type {
	return Type{fmt.Sprintf("an integer of at least %d", least), func(v Value) bool {
		number, ok := v.Int64()
		return ok && number >= least
	}, tellNumber}
}

func isDate(v Value) bool {
	name, _ := v.wrapped()
	return name == "$date"
}

func isISO8601(v Value) bool {
	text, ok := v.Text()
	if ok {
		_, ok = ParseISO8601(text)
	}
	return ok
}

func isNumber(v Value) bool {
	_, _, ok := v.number()
	name, _ := v.wrapped()
	return ok || name == "$numberDecimal"
}

func tellText(v Value) string {
	if text, ok := v.Text(); ok {
		return quoted(text, 40)
	}
	return ""
}

func tellNumber(v Value) string {
	if whole, ok := v.Int64(); ok {
		return fmt.Sprint(whole)
	}
	if number, ok := v.Float64(); ok {
		return formatDouble(number)
	}
	return ""
}

func (t Type) complaint(v Value) string {
	found := ""
	if t.tells != nil {
		found = t.tells(v)
	}
	if found == "" {
		found = v.TypeName()
	}
	return "must be " + t.wanted + ", is " + found
}

// Quoted is text as it reads in the messages of violations: in quotes, with what cannot be printed escaped.
func Quoted(text string) string { return quoted(text, len(text)) }

// quoted cuts text where it is long: messages end up in logs.
func quoted(text string, most int) string {
	var out strings.Builder
	out.WriteByte('"')
	count := 0
	for at, c := range text {
		if count++; count > most {
			out.WriteString(`"...`)
			return out.String()
		}
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteRune(c)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\t':
			out.WriteString(`\t`)
		case c == 0:
			out.WriteString(`\0`)
		case unicode.IsPrint(c) && !unicode.Is(unicode.Mn, c) && !unicode.Is(unicode.Me, c):
			out.WriteString(text[at : at+utf8.RuneLen(c)])
		default:
			fmt.Fprintf(&out, `\u{%x}`, c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// Field is a field of a document and what is asked of it.
type Field struct {
	Name     string
	Is       Type
	Optional bool
}

// Required is a field that must be there.
func Required(name string, is Type) Field { return Field{name, is, false} }

// Optional is a field that may be absent. Null is not absent.
func Optional(name string, is Type) Field { return Field{name, is, true} }

// Rules is what is asked of a kind of document. Fields that are not named pass. All fields are looked for in one pass, which
// is fastest when they stand here in the order the documents have them.
type Rules []Field

// Check gives everything that is wrong with the document, in the order of the rules.
func (r Rules) Check(document Document) Verdict {
	// Most rules are few enough for no allocation.
	var few [16]Value
	values := few[:]
	if len(r) > len(few) {
		values = make([]Value, len(r))
	}
	missing, next := len(r), 0
	for name, value := range document.Fields() {
		if missing == 0 {
			break
		}
		// The name after the one found last comes first: documents of one kind mostly have one order.
		for tried := range r {
			at := (next + tried) % len(r)
			if r[at].Name != name {
				continue
			}
			if values[at] == nil {
				values[at] = value
				missing--
			}
			next = at + 1
			break
		}
	}
	verdict := Accept
	for at, field := range r {
		switch value := values[at]; {
		case !value.Exists():
			if !field.Optional {
				verdict = append(verdict, Violation{field.Name, "is missing"})
			}
		case !field.Is.fits(value):
			verdict = append(verdict, Violation{field.Name, field.Is.complaint(value)})
		}
	}
	return verdict
}
