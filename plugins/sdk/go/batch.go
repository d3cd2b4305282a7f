package tidegate

import "time"

// batch is one arena of bytes and lists of numbers: the table in the contract's types.wit says which number is what.
type batch struct {
	arena      []byte
	namespaces [][2]string
	headers    []uint32
	stride     int
	numbers    []uint32
}

const numbersOfChange = 18

func (b *batch) len() int {
	if b.stride < numbersOfChange {
		return 0
	}
	return len(b.numbers) / b.stride
}

// bytes are those of a span, nil where it is absent.
func (b *batch) bytes(span []uint32) []byte {
	offset, length := uint64(span[0]), uint64(span[1])
	if length == 0 || offset+length > uint64(len(b.arena)) {
		return nil
	}
	return b.arena[offset : offset+length : offset+length]
}

func (b *batch) change(index int) *Change {
	raw := b.numbers[index*b.stride:]
	change := &Change{
		ID:          unsafeString(b.bytes(raw[0:])),
		Operation:   Operation(raw[2]),
		Key:         b.bytes(raw[4:]),
		Document:    b.bytes(raw[6:]),
		Before:      b.bytes(raw[8:]),
		Update:      b.bytes(raw[10:]),
		ClusterTime: uint64(raw[12]) | uint64(raw[13])<<32,
	}
	if change.Operation > Read {
		// A later version of the contract may have more, which this one takes for updates.
		change.Operation = Update
	}
	if int(raw[3]) < len(b.namespaces) {
		change.Database, change.Collection = b.namespaces[raw[3]][0], b.namespaces[raw[3]][1]
	}
	if millis := int64(uint64(raw[14]) | uint64(raw[15])<<32); millis != 0 {
		change.WallTime = time.UnixMilli(millis).UTC()
	}
	if first, count := uint64(raw[16]), uint64(raw[17]); count > 0 && (first+count)*4 <= uint64(len(b.headers)) {
		change.Headers = make([]Header, count)
		for i := range change.Headers {
			numbers := b.headers[(first+uint64(i))*4:]
			change.Headers[i] = Header{unsafeString(b.bytes(numbers)), unsafeString(b.bytes(numbers[2:]))}
		}
	}
	return change
}

// arena is one of results, being filled.
type arena struct{ bytes []byte }

// arenaFor has room for documents: they mostly keep about their size, and get a field or two.
func arenaFor(b *batch) arena { return arena{make([]byte, 0, len(b.arena)+64*b.len()+256)} }

func (a *arena) push(bytes []byte) (uint32, uint32) {
	offset := len(a.bytes)
	a.bytes = append(a.bytes, bytes...)
	return uint32(offset), uint32(len(bytes))
}

func (a *arena) text(value string) (uint32, uint32) {
	return a.push([]byte(validUTF8(value)))
}

// headers adds those that have a value: an empty span would be an absent one. It gives their range in `list`.
func (a *arena) headers(headers []Header, list *[]uint32) (uint32, uint32) {
	first := len(*list) / 4
	for _, header := range headers {
		if header.Name == "" || header.Value == "" {
			continue
		}
		name, nameLength := a.text(header.Name)
		value, valueLength := a.text(header.Value)
		*list = append(*list, name, nameLength, value, valueLength)
	}
	return uint32(first), uint32(len(*list)/4 - first)
}
