package tidegate

import "encoding/json"

// Edit is a document with some of its fields changed. What is not named is copied byte for byte and stays where it is, so
// the order of the fields is kept.
type Edit struct {
	document Document
	edits    []edit
	err      error
}

// edit is what becomes of one field.
type edit struct {
	// place is the field of the original whose place this is, no two edits having the same.
	place string
	atEnd bool
	// name is that of the field that is put there.
	name  string
	value Value
}

// Edit begins with the document as it is.
func (d Document) Edit() *Edit { return &Edit{document: d} }

// Get is the value of a field as the edits so far leave it.
func (e *Edit) Get(name string) Value {
	gone := false
	for _, edit := range e.edits {
		if edit.value != nil && edit.name == name {
			return edit.value
		}
		gone = gone || !edit.atEnd && edit.place == name
	}
	if gone {
		return nil
	}
	return e.document.Get(name)
}

// Set gives a field a value, a Value or anything that json.Marshal takes: in its place if it is there, else at the end.
func (e *Edit) Set(name string, value any) *Edit { return e.put(name, name, value) }

// Remove takes a field away. Nothing happens when it is not there.
func (e *Edit) Remove(name string) *Edit {
	e.of(name).value = nil
	return e
}

// Replace puts a field of another name and value in the place of `old`, or at the end when that is not there. Any other
// field called `name` goes.
func (e *Edit) Replace(old, name string, value any) *Edit {
	if old != name {
		e.Remove(name)
	}
	return e.put(old, name, value)
}

func (e *Edit) put(field, name string, value any) *Edit {
	text, err := json.Marshal(value)
	if err != nil && e.err == nil {
		e.err = err
	}
	edit := e.of(field)
	edit.name, edit.value = name, text
	return e
}

// of is the edit that decides about the field which is called `name` now.
func (e *Edit) of(name string) *edit {
	free, taken := -1, false
	for i := range e.edits {
		it := &e.edits[i]
		if it.value != nil && it.name == name {
			return it
		}
		if !it.atEnd && it.place == name {
			taken = true
			if it.value == nil {
				free = i
			}
		}
	}
	if free < 0 {
		// Where another field has taken the place, this one goes to the end.
		e.edits = append(e.edits, edit{place: name, atEnd: taken})
		free = len(e.edits) - 1
	}
	return &e.edits[free]
}

// Document is the new document. The error is that of a value that cannot be written as JSON.
func (e *Edit) Document() (Document, error) {
	if e.err != nil {
		return nil, e.err
	}
	size := len(e.document) + 2
	for _, edit := range e.edits {
		size += len(edit.name) + len(edit.value) + 8
	}
	out := append(make([]byte, 0, size), '{')
	used := make([]bool, len(e.edits))
	add := func(quoted []byte, value Value) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted...), ':'), value...)
	}
	put := func(i int) {
		if !used[i] && e.edits[i].value != nil {
			quoted, _ := json.Marshal(e.edits[i].name)
			add(quoted, e.edits[i].value)
		}
		used[i] = true
	}
	for quoted, value := range e.document.raw() {
		found := -1
		for i, name := 0, nameOf(quoted); i < len(e.edits) && found < 0; i++ {
			if !e.edits[i].atEnd && e.edits[i].place == name {
				found = i
			}
		}
		if found < 0 {
			add(quoted, value)
		} else {
			// Of a field that occurs twice, the second goes.
			put(found)
		}
	}
	for i := range e.edits {
		put(i)
	}
	return append(out, '}'), nil
}
