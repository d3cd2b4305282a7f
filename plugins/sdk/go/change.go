package tidegate

import "time"

// Operation is what happened to the document.
type Operation uint32

const (
	Insert Operation = iota
	Update
	Replace
	Delete
	// Read is for a document that was there before the stream began, and that a copy read.
	Read
)

var operations = [...]string{"insert", "update", "replace", "delete", "read"}

func (o Operation) String() string {
	if int(o) < len(operations) {
		return operations[o]
	}
	return "update"
}

// Header is a name and a value, both text. A header without a value is left out.
type Header struct{ Name, Value string }

// Change is one change. Its documents may be kept after the call: they are never written to again.
type Change struct {
	// ID is the same after a restart, and the correlation id of all log lines.
	ID                   string
	Operation            Operation
	Database, Collection string
	// Key has the field _id, and those of the shard key where there is one.
	Key Document
	// Document is the document after the change. A delete has none.
	Document Document
	// Before is the document before the change, where the source was asked for it.
	Before Document
	// Update is the source's description of an update (MongoDB's updateDescription).
	Update Document
	// ClusterTime is the source's logical time: seconds since 1970 in the upper 32 bits, a counter in the lower; 0: none.
	ClusterTime uint64
	// WallTime is when it happened by the server's clock; the zero time where the source has none.
	WallTime time.Time
	// Headers came from the source or from earlier stages.
	Headers []Header
}

// Header gives the value of a header, empty where there is none.
func (c *Change) Header(name string) string {
	for _, header := range c.Headers {
		if header.Name == name {
			return header.Value
		}
	}
	return ""
}
