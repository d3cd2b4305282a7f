package tidegate

import "fmt"

// Validator says of each change whether it may pass. The host asks for changes that have a document only.
type Validator interface {
	Validate(change *Change) Verdict
}

// Violation is one thing that is wrong with a document.
type Violation struct {
	// Path is where: field names with dots between them; empty for the document itself.
	Path string
	// Message is to be read after the path: "must be a string, is int".
	Message string
}

func (v Violation) String() string {
	if v.Path == "" {
		return v.Message
	}
	return v.Path + " " + v.Message
}

// Verdict is what is wrong with a document. Without any violation the change passes; else it goes to the dead letter.
type Verdict []Violation

// Accept lets the change pass.
var Accept Verdict

// Reject gives one reason.
func Reject(path, format string, arguments ...any) Verdict {
	return Verdict{}.And(path, format, arguments...)
}

// And gives one more reason.
func (v Verdict) And(path, format string, arguments ...any) Verdict {
	return append(v, Violation{path, fmt.Sprintf(format, arguments...)})
}

// Migrator brings documents to another schema version. The host asks for changes that have a document only. A change with
// an error goes to the dead letter, with the error as the reason.
type Migrator interface {
	Migrate(change *Change) (Migration, error)
}

// Migration is what becomes of a document.
type Migration struct {
	document Document
	from, to string
}

// Unchanged leaves the document as it is. The version is the one it has, empty where that is not known.
func Unchanged(version string) Migration {
	return Migration{from: version}
}

// Migrated puts another document in its place.
func Migrated(document Document, from, to string) Migration {
	if document.IsAbsent() {
		panic("a migrated document cannot be absent")
	}
	return Migration{document, from, to}
}

// Router says where each change goes. None at all: nowhere, and it is counted as filtered. A change with an error goes to
// the dead letter.
type Router interface {
	Route(change *Change) ([]Destination, error)
}

// Destination is one place a change goes to. What is empty is left to the host: all sinks, and each sink's own target and key.
type Destination struct {
	// Sink is the name of a sink of the pipeline.
	Sink string
	// Target is where in that sink: a stream, a topic, a collection.
	Target string
	// OrderingKey is what must stay in order at the target, for sinks that order by key.
	OrderingKey string
	// Attributes are headers of this delivery alone.
	Attributes []Header
}

// Transformer makes any change into zero or more. A change with an error goes to the dead letter.
type Transformer interface {
	Transform(change *Change) (Transformation, error)
}

// Transformation is what becomes of one change.
type Transformation struct {
	changed bool
	outputs []Output
}

// Pass lets the change pass as it is, at no cost.
var Pass Transformation

// Changes puts these in the place of the change; with none it ends here, and is counted as filtered.
func Changes(outputs ...Output) Transformation {
	return Transformation{true, outputs}
}

// Output is a change that takes the place of another. Begin with Change.Output.
type Output struct {
	Operation            Operation
	Database, Collection string
	// Key is the document key; absent: as before.
	Key Document
	// Document is the document; absent: none, whatever the other change had.
	Document Document
	// Headers are added to those of the other change.
	Headers []Header
}

// Output begins a change with the operation and namespace of this one and another document.
func (c *Change) Output(document Document) Output {
	return Output{Operation: c.Operation, Database: c.Database, Collection: c.Collection, Document: document}
}
