package tidegate

import (
	"strings"
	"unsafe"
)

// unsafeString is text that shares its bytes with the arena, which nobody writes to again.
func unsafeString(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }

// validUTF8 is text as the host takes it.
func validUTF8(value string) string { return strings.ToValidUTF8(value, "?") }
