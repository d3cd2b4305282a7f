package tidegate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Exists says whether there is a value; null is one.
func (v Value) Exists() bool { return len(v) > 0 }

// IsNull says whether the value is null.
func (v Value) IsNull() bool { return string(v) == "null" }

// Document is a nested document, absent for values of other types.
func (v Value) Document() Document {
	if v.TypeName() != "object" {
		return nil
	}
	return Document(v)
}

// wrapped takes {"$name": inner} apart, which is how a type is written that JSON has not.
func (v Value) wrapped() (name string, inner Value) {
	if len(v) > 0 && v[0] == '{' {
		for name, inner := range Document(v).Fields() {
			if strings.HasPrefix(name, "$") {
				return name, inner
			}
			break
		}
	}
	return "", nil
}

// Text is the text of a string.
func (v Value) Text() (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	return nameOf(v), true
}

// Bool is a boolean.
func (v Value) Bool() (value, ok bool) {
	return string(v) == "true", string(v) == "true" || string(v) == "false"
}

// number is the text of an integer or a double, and whether it was written as a double.
func (v Value) number() (text string, double, ok bool) {
	if len(v) == 0 {
		return "", false, false
	}
	if v[0] == '-' || v[0] >= '0' && v[0] <= '9' {
		text = unsafeString(v)
		return text, strings.ContainsAny(text, ".eE"), true
	}
	name, inner := v.wrapped()
	if name != "$numberLong" && name != "$numberInt" && name != "$numberDouble" {
		return "", false, false
	}
	text, ok = inner.Text()
	return text, name == "$numberDouble", ok
}

// Int64 is a whole number: an Int32, an Int64, or a Double without a fraction within 2^53, which shells and JavaScript
// clients write.
func (v Value) Int64() (int64, bool) {
	const limit = 1 << 53
	text, double, ok := v.number()
	if !ok {
		return 0, false
	}
	if !double {
		number, err := strconv.ParseInt(text, 10, 64)
		return number, err == nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number != math.Trunc(number) || math.Abs(number) > limit {
		return 0, false
	}
	return int64(number), true
}

// Float64 is a Double, Int32 or Int64, the last rounded where a float64 cannot hold it.
func (v Value) Float64() (float64, bool) {
	text, _, ok := v.number()
	number, err := strconv.ParseFloat(text, 64)
	return number, ok && err == nil
}

// Time is a date.
func (v Value) Time() (time.Time, bool) {
	name, inner := v.wrapped()
	if name != "$date" {
		return time.Time{}, false
	}
	if text, ok := inner.Text(); ok {
		return ParseISO8601(text)
	}
	millis, ok := inner.Int64()
	return time.UnixMilli(millis).UTC(), ok
}

// ObjectID is an ObjectId in 24 hexadecimal digits.
func (v Value) ObjectID() (string, bool) {
	name, inner := v.wrapped()
	if name != "$oid" {
		return "", false
	}
	return inner.Text()
}

// ForName is how the value reads inside a name, such as that of a stream: text as it is, a whole number in digits, an
// ObjectId in hex, a boolean as a word. Other types have no such form.
func (v Value) ForName() (string, bool) {
	if text, ok := v.Text(); ok {
		return text, true
	}
	if id, ok := v.ObjectID(); ok {
		return id, true
	}
	if _, ok := v.Bool(); ok {
		return string(v), true
	}
	number, ok := v.Int64()
	return strconv.FormatInt(number, 10), ok
}

var wrappers = map[string]string{
	"$oid": "objectId", "$date": "date", "$numberDecimal": "decimal", "$numberDouble": "double", "$numberLong": "long",
	"$numberInt": "int", "$binary": "binData", "$uuid": "binData", "$timestamp": "timestamp", "$regularExpression": "regex",
	"$dbPointer": "dbPointer", "$code": "javascript", "$symbol": "symbol", "$minKey": "minKey", "$maxKey": "maxKey",
	"$undefined": "undefined",
}

// TypeName is the name MongoDB gives the type: string, int, long, double, date, objectId and so on. JSON does not say of
// which type a number is: whole ones are int within 32 bits, and long within 2^53.
func (v Value) TypeName() string {
	if len(v) == 0 {
		return "missing"
	}
	switch v[0] {
	case '"':
		return "string"
	case '[':
		return "array"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	if whole, ok := v.Int64(); ok {
		if whole >= math.MinInt32 && whole <= math.MaxInt32 {
			return "int"
		}
		return "long"
	}
	if v[0] != '{' {
		return "double"
	}
	name, _ := v.wrapped()
	kind, known := wrappers[name]
	if !known {
		return "object"
	}
	if kind == "javascript" && Document(v).Get("$scope").Exists() {
		return "javascriptWithScope"
	}
	return kind
}

// Date is the value of a BSON date, of milliseconds.
func Date(date time.Time) Value {
	if year := date.UTC().Year(); year < 1970 || year > 9999 {
		return Value(fmt.Sprintf(`{"$date":{"$numberLong":"%d"}}`, date.UnixMilli()))
	}
	return Value(date.UTC().Format(`{"$date":"2006-01-02T15:04:05.000Z"}`))
}

// Long is an Int64, whatever its size. Other whole numbers become an Int32 where they fit.
func Long(number int64) Value { return Value(fmt.Sprintf(`{"$numberLong":"%d"}`, number)) }

// Double is a Double, even where it is whole.
func Double(number float64) Value {
	return Value(`{"$numberDouble":"` + strings.Replace(formatDouble(number), "inf", "Infinity", 1) + `"}`)
}

// Decimal is a Decimal128.
func Decimal(text string) Value { return wrap("$numberDecimal", text) }

// ObjectID is an ObjectId of 24 hexadecimal digits.
func ObjectID(hex string) Value { return wrap("$oid", hex) }

func wrap(name, text string) Value {
	quoted, _ := json.Marshal(text)
	return Value(`{"` + name + `":` + string(quoted) + `}`)
}

// formatDouble writes all digits that tell the number from its neighbours, and no exponent.
func formatDouble(number float64) string {
	if math.IsInf(number, 0) {
		return strings.Replace("-inf", "-", map[bool]string{true: "-"}[number < 0], 1)
	}
	return strconv.FormatFloat(number, 'f', -1, 64)
}
