// Asks the host for what a document names, and writes what it got into the field `answer`: see asker/src/lib.rs.
package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"tidegate"
)

type asker struct{}

func (asker) Migrate(change *tidegate.Change) (tidegate.Migration, error) {
	document := change.Document
	if document.IsAbsent() {
		return tidegate.Unchanged("answered"), nil
	}
	var answer any
	switch ask := text(document, "ask"); ask {
	case "clock":
		answer = tidegate.Long(tidegate.Now().UnixMilli())
	case "random":
		count, _ := count(document, "count")
		answer = hex.EncodeToString(tidegate.RandomBytes(int(count)))
	case "environment":
		if value, ok := tidegate.Environment(text(document, "name")); ok {
			answer = value
		}
	case "http":
		var err error
		if answer, err = asked(document); err != nil {
			return tidegate.Migration{}, err
		}
	default:
		return tidegate.Migration{}, fmt.Errorf("`ask: %s` is nothing that can be asked for", ask)
	}
	answered, err := document.Edit().Set("answer", answer).Document()
	if err != nil {
		return tidegate.Migration{}, err
	}
	return tidegate.Migrated(answered, "asked", "answered"), nil
}

func text(document tidegate.Document, name string) string {
	value, _ := document.Get(name).Text()
	return value
}

// count is what Rust takes for a u32.
func count(document tidegate.Document, name string) (uint32, bool) {
	value, ok := document.Get(name).Int64()
	if !ok || value < 0 || value > math.MaxUint32 {
		return 0, false
	}
	return uint32(value), true
}

func asked(document tidegate.Document) (tidegate.Document, error) {
	request := tidegate.HTTPRequest{Method: text(document, "method"), URL: text(document, "url"), Body: []byte(text(document, "body"))}
	if millis, ok := count(document, "timeout"); ok {
		request.Timeout = time.Duration(millis) * time.Millisecond
	}
	headers := tidegate.Document(document.Get("headers"))
	for name := range headers.Fields() {
		request.Headers = append(request.Headers, tidegate.Header{Name: name, Value: text(headers, name)})
	}
	response, err := request.Send()
	var failure *tidegate.HTTPError
	if errors.As(err, &failure) {
		return tidegate.Document("{}").Edit().Set("error", failure.Kind).Set("why", failure.Message).Document()
	}
	// Edits keep the order that the headers came in, which a map does not.
	told := tidegate.Document("{}").Edit()
	for _, header := range response.Headers {
		told.Set(header.Name, header.Value)
	}
	names, err := told.Document()
	if err != nil {
		return nil, err
	}
	return tidegate.Document("{}").Edit().Set("status", response.Status).Set("headers", tidegate.Value(names)).Set("body", response.Text()).Document()
}

func init() {
	tidegate.Register(tidegate.Manifest{
		Name:        "conformance-asker",
		Version:     "0.1.0",
		Description: "Asks the host for what a document names, and writes the answer into the document",
	}, func(tidegate.NoConfig) (tidegate.Migrator, error) { return asker{}, nil })
}

// A component's main function is never run.
func main() {}
