package tests

import (
	"math"
	"strings"
	"testing"
	"time"

	"tidegate"
)

func same[T comparable](t *testing.T, got, expected T) {
	t.Helper()
	if got != expected {
		t.Errorf("%v, not %v", got, expected)
	}
}

const text = ` { "a" : 1 , "b\"\u00e9" : [ 10 , { "c" : "d}]\\" } , null ] , "n":{"x":{"y":true}},"a":2,"e":{} , "l":[] } `

func TestFieldsAreFoundAndInOrder(t *testing.T) {
	document := tidegate.Document(text)
	var names []string
	for name, value := range document.Fields() {
		names = append(names, name+"="+value.String())
	}
	same(t, strings.Join(names, ";"), `a=1;b"é=[ 10 , { "c" : "d}]\\" } , null ];n={"x":{"y":true}};a=2;e={};l=[]`)
	found, _ := document.Get(`b"é`, "1", "c").Text()
	same(t, found, `d}]\`)
	same(t, document.Get(`b"é`, "2").IsNull(), true)
	same(t, document.Get(`b"é`, "3").Exists(), false)
	same(t, document.Get(`b"é`, "x").Exists(), false)
	same(t, document.Get("n", "x", "y").String(), "true")
	same(t, document.Get("a", "b", "c").Exists(), false)
	same(t, tidegate.Document(nil).Get("a").Exists(), false)
	for range document.Get("l").Array() {
		t.Error("an empty array has an element")
	}
}

func TestNoTextMakesItPanic(t *testing.T) {
	for end := range text {
		cut := tidegate.Document(text[:end])
		for _, value := range cut.Fields() {
			value.TypeName()
		}
		cut.Get(`b"é`, "1", "c")
		cut.Edit().Set("a", 1).Document()
	}
}

func TestTypesAreNamed(t *testing.T) {
	for value, name := range map[string]string{
		``: "missing", `"x"`: "string", `[1]`: "array", `true`: "bool", `null`: "null", `{}`: "object", `{"a":1}`: "object",
		`1`: "int", `-2147483648`: "int", `2147483648`: "long", `5.0`: "int", `1.5`: "double", `1e300`: "double",
		`9007199254740994.0`: "double", `{"$numberLong":"9007199254740993"}`: "long", `{"$numberDouble":"NaN"}`: "double",
		`{"$numberDouble":"-Infinity"}`: "double", `{"$numberDecimal":"1"}`: "decimal", `{"$oid":"00"}`: "objectId",
		`{"$date":"2024-01-31T00:00:00Z"}`: "date", `{"$code":"x"}`: "javascript", `{"$code":"x","$scope":{}}`: "javascriptWithScope",
		`{"$binary":{"base64":"","subType":"00"}}`: "binData", `{"$minKey":1}`: "minKey", `{"$undefined":true}`: "undefined",
	} {
		same(t, tidegate.Value(value).TypeName(), name)
	}
}

func TestNumbersAreNotRounded(t *testing.T) {
	long, ok := tidegate.Value(`{"$numberLong":"9223372036854775807"}`).Int64()
	same(t, ok && long == math.MaxInt64, true)
	whole, ok := tidegate.Value(`5.0`).Int64()
	same(t, ok && whole == 5, true)
	_, ok = tidegate.Value(`5.5`).Int64()
	same(t, ok, false)
	_, ok = tidegate.Value(`1e16`).Int64()
	same(t, ok, false)
	nan, ok := tidegate.Value(`{"$numberDouble":"NaN"}`).Float64()
	same(t, ok && math.IsNaN(nan), true)
	infinite, ok := tidegate.Value(`{"$numberDouble":"-Infinity"}`).Float64()
	same(t, ok && math.IsInf(infinite, -1), true)
	var fields map[string]any
	if err := tidegate.Document(`{"n":9007199254740993}`).Unmarshal(&fields); err != nil {
		t.Fatal(err)
	}
	again, err := tidegate.Marshal(fields)
	same(t, again.String(), `{"n":9007199254740993}`)
	same(t, err, nil)
}

func TestValuesThatJSONHasNot(t *testing.T) {
	at := time.Date(2024, 1, 31, 9, 30, 0, 250e6, time.FixedZone("", 3600))
	same(t, tidegate.Date(at).String(), `{"$date":"2024-01-31T08:30:00.250Z"}`)
	same(t, tidegate.Date(time.UnixMilli(-1)).String(), `{"$date":{"$numberLong":"-1"}}`)
	for _, date := range []time.Time{at, time.UnixMilli(-1), time.UnixMilli(1e15)} {
		read, ok := tidegate.Date(date).Time()
		same(t, ok && read.Equal(date), true)
	}
	same(t, tidegate.Double(5).String(), `{"$numberDouble":"5"}`)
	same(t, tidegate.Double(math.Inf(-1)).String(), `{"$numberDouble":"-Infinity"}`)
	same(t, tidegate.Double(math.Inf(1)).String(), `{"$numberDouble":"Infinity"}`)
	same(t, tidegate.Long(-5).String(), `{"$numberLong":"-5"}`)
	same(t, tidegate.ObjectID("ab").String(), `{"$oid":"ab"}`)
}

func TestEditsKeepTheOrder(t *testing.T) {
	document := tidegate.Document(`{"a":1,"b":{"$date":"x"},"c":"é","b":2}`)
	edit := document.Edit().Remove("a").Replace("c", "name", "<>").Set("c", []int{1}).Set("b", nil).Set("z", tidegate.Long(1))
	same(t, edit.Get("name").String(), `"\u003c\u003e"`)
	same(t, edit.Get("a").Exists(), false)
	edited, err := edit.Document()
	same(t, err, nil)
	same(t, edited.String(), `{"b":null,"name":"\u003c\u003e","c":[1],"z":{"$numberLong":"1"}}`)
	_, err = document.Edit().Set("a", make(chan int)).Document()
	same(t, err != nil, true)
	empty, _ := tidegate.Document(nil).Edit().Set("a", 1).Document()
	same(t, empty.String(), `{"a":1}`)
}
