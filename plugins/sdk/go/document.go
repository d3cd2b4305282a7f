package tidegate

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"strings"
)

// Document is a document as JSON text. It is nil where there is none.
type Document []byte

// Value is a value of a document as JSON text. It is nil where there is none, and all its methods may then be called too.
type Value []byte

// IsAbsent says whether there is no document.
func (d Document) IsAbsent() bool { return len(d) == 0 }

// Get looks a field up without reading the rest: by name, and by further names in nested documents, or positions in arrays.
func (d Document) Get(path ...string) Value {
	value := Value(d)
	for _, name := range path {
		value = value.get(name)
	}
	return value
}

func (v Value) get(name string) Value {
	if len(v) > 0 && v[0] == '[' {
		at, err := strconv.Atoi(name)
		for element := range v.Array() {
			if at == 0 && err == nil {
				return element
			}
			at--
		}
		return nil
	}
	for field, value := range Document(v).Fields() {
		if field == name {
			return value
		}
	}
	return nil
}

// Fields are the names and values, in the document's order.
func (d Document) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for name, value := range d.raw() {
			if !yield(nameOf(name), value) {
				return
			}
		}
	}
}

// nameOf is a field's name without its quotes. Text in the arena is not copied.
func nameOf(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return unsafeString(quoted[1 : len(quoted)-1])
	}
	var name string
	_ = json.Unmarshal(quoted, &name)
	return name
}

// raw goes through the fields, the names with their quotes. It ends where the text is no JSON, which the host never sends.
func (d Document) raw() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		at := skipSpace(d, 0)
		if at >= len(d) || d[at] != '{' {
			return
		}
		for at++; ; at++ {
			at = skipSpace(d, at)
			name := at
			if at = skipString(d, at); at < 0 {
				return
			}
			end := at
			if at = skipSpace(d, at); at >= len(d) || d[at] != ':' {
				return
			}
			from := skipSpace(d, at+1)
			if at = skipValue(d, from); at < 0 || !yield(d[name:end:end], Value(d[from:at:at])) {
				return
			}
			if at = skipSpace(d, at); at >= len(d) || d[at] != ',' {
				return
			}
		}
	}
}

// Array goes through the elements, none where the value is no array.
func (v Value) Array() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if len(v) == 0 || v[0] != '[' {
			return
		}
		for at := 1; ; at++ {
			from := skipSpace(v, at)
			if at = skipValue(v, from); at < 0 || !yield(v[from:at:at]) {
				return
			}
			if at = skipSpace(v, at); at >= len(v) || v[at] != ',' {
				return
			}
		}
	}
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t') {
		at++
	}
	return at
}

// skipString gives the place behind the text that begins here, or -1.
func skipString(text []byte, at int) int {
	if at >= len(text) || text[at] != '"' {
		return -1
	}
	for at++; at < len(text); at++ {
		switch text[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return -1
}

// skipValue gives the place behind the value that begins here, or -1.
func skipValue(text []byte, at int) int {
	begin, depth := at, 0
	for at < len(text) {
		switch text[at] {
		case '"':
			if at = skipString(text, at); at < 0 || depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				if at == begin {
					return -1
				}
				return at
			}
			if text[at] == '}' || text[at] == ']' {
				if depth--; depth == 0 {
					return at + 1
				}
			}
		}
		at++
	}
	if depth > 0 || at == begin {
		return -1
	}
	return at
}

// Unmarshal reads the document into a struct or a map, as json.Unmarshal does, but numbers in interfaces become
// json.Number: a float64 would round what lies beyond 2^53. Dates and 64-bit integers beyond 2^53 are documents here:
// {"$date": ...}, {"$numberLong": ...}; a field of the type Value takes any of them.
func (d Document) Unmarshal(into any) error { return Value(d).Unmarshal(into) }

// Unmarshal is as that of a Document.
func (v Value) Unmarshal(into any) error {
	if len(v) == 0 {
		return errors.New("there is no value")
	}
	decoder := json.NewDecoder(bytes.NewReader(v))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// Marshal makes a document of a struct or a map. The fields of a map are sorted by json.Marshal: use Edit to keep their order.
func Marshal(value any) (Document, error) {
	text, err := json.Marshal(value)
	if err == nil && !strings.HasPrefix(string(text), "{") {
		err = errors.New("a document is a JSON object")
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// MarshalJSON writes the document as it is.
func (d Document) MarshalJSON() ([]byte, error) { return Value(d).MarshalJSON() }

// MarshalJSON writes the value as it is.
func (v Value) MarshalJSON() ([]byte, error) {
	if len(v) == 0 {
		return []byte("null"), nil
	}
	return v, nil
}

// UnmarshalJSON takes the document as it is.
func (d *Document) UnmarshalJSON(text []byte) error {
	*d = bytes.Clone(text)
	return nil
}

// UnmarshalJSON takes the value as it is.
func (v *Value) UnmarshalJSON(text []byte) error {
	*v = bytes.Clone(text)
	return nil
}

func (d Document) String() string { return string(d) }

func (v Value) String() string { return string(v) }
