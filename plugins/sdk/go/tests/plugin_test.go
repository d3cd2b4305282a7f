package tests

import (
	"fmt"
	"strings"
	"testing"

	"tidegate"
)

func TestRules(t *testing.T) {
	rules := tidegate.Rules{
		tidegate.Required("name", tidegate.IsString),
		tidegate.Required("quantity", tidegate.IsIntegerFrom(0)),
		tidegate.Optional("kind", tidegate.IsOneOf("a", "b")),
		tidegate.Optional("at", tidegate.IsDateOrISO8601),
		tidegate.Optional("price", tidegate.IsNumber),
	}
	for document, expected := range map[string]string{
		`{"name":"x","quantity":0}`: "",
		`{"quantity":5.0,"name":"x","kind":"b","at":"2024-01-31","price":{"$numberDecimal":"1"}}`: "",
		`{}`:                              "name is missing; quantity is missing",
		`{"name":null,"quantity":-1}`:     "name must be a string, is null; quantity must be an integer of at least 0, is -1",
		`{"name":"x","quantity":1.5e-10}`: "quantity must be an integer of at least 0, is 0.00000000015",
		`{"name":"x","quantity":{"$numberDouble":"-Infinity"}}`: "quantity must be an integer of at least 0, is -inf",
		`{"name":"x","quantity":1,"kind":"\u0000\n\"\u0301"}`:   `kind must be one of a, b, is "\0\n\"\u{301}"`,
		`{"name":"x","quantity":1,"at":"` + strings.Repeat("é", 41) + `"}`: `at must be a date or a date and time in ISO 8601 text, is "` +
			strings.Repeat("é", 40) + `"...`,
	} {
		var found []string
		for _, violation := range rules.Check(tidegate.Document(document)) {
			found = append(found, violation.String())
		}
		same(t, strings.Join(found, "; "), expected)
	}
}

func TestISO8601(t *testing.T) {
	for text, expected := range map[string]string{
		"2024-01-31":                     "2024-01-31 00:00:00 +0000 UTC",
		"2024-01-31T09:30Z":              "2024-01-31 09:30:00 +0000 UTC",
		"2024-01-31t09:30:00.123456789z": "2024-01-31 09:30:00.123 +0000 UTC",
		"2016-12-31 23:59:60,5+01":       "2016-12-31 23:00:00.5 +0000 UTC",
		"2024-01-31T09:30:00-0130":       "2024-01-31 11:00:00 +0000 UTC",
		"0000-02-29":                     "0000-02-29 00:00:00 +0000 UTC",
	} {
		date, ok := tidegate.ParseISO8601(text)
		same(t, ok, true)
		same(t, date.String(), expected)
	}
	for _, text := range []string{
		"", "2024", "2023-02-29", "2024-00-01", "2024-01-31T24:00Z", "2024-01-31T09:30:60Z", "2024-01-31T09:30:00.Z",
		"2024-01-31T09:30:00.1234567890Z", "2024-01-31T09:30:00+1", "2024-01-31Z", "2024-1-31", "2024-01-31T09:30:00Zx", "+024-01-31",
	} {
		if _, ok := tidegate.ParseISO8601(text); ok {
			t.Error(text, "was taken")
		}
	}
}

type config struct {
	Minimum int64  `json:"minimum"`
	Name    string `json:"name"`
}

func (c config) Validate(change *tidegate.Change) tidegate.Verdict {
	return tidegate.Reject("a", "%d", c.Minimum).And("b", "%s", change.Header("h"))
}

func TestConfiguration(t *testing.T) {
	tidegate.Register(tidegate.Manifest{Name: "x"}, func(c config) (tidegate.Validator, error) {
		if c.Minimum < 0 {
			return nil, fmt.Errorf("minimum must be at least 0")
		}
		return c, nil
	})
	made, err := tidegate.Configure(`{"minimum":9007199254740993}`)
	if err != nil {
		t.Fatal(err)
	}
	change := &tidegate.Change{Headers: []tidegate.Header{{Name: "h", Value: "v"}}}
	same(t, fmt.Sprint(made.(tidegate.Validator).Validate(change)), "[a 9007199254740993 b v]")
	for text, expected := range map[string]string{
		`{"minimum":-1}`:  "minimum must be at least 0",
		`{"minimum":"1"}`: "minimum must be int64, is string",
		`{"minimun":1}`:   "unknown field `minimun`, expected `minimum` or `name`",
	} {
		_, err := tidegate.Configure(text)
		same(t, fmt.Sprint(err), expected)
	}
}
