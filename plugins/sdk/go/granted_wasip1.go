package tidegate

import (
	"math"
	"runtime"
	"time"
	"unsafe"
)

// What an operator grants, by the canonical ABI. The linker leaves out what is not called, and with it the import. Results are written where
// the last pointer points to; what they hold lies in memory that `realloc` gave, and may be kept.

//go:wasmimport tidegate:plugin/clock@0.1.0 now
func rawNow() int64

//go:wasmimport tidegate:plugin/random@0.1.0 bytes
func rawRandom(count uint32, result unsafe.Pointer)

//go:wasmimport tidegate:plugin/environment@0.1.0 get
func rawEnvironment(name unsafe.Pointer, size uint32, result unsafe.Pointer)

//go:wasmimport tidegate:plugin/http@0.1.0 send
func rawSend(method unsafe.Pointer, methodSize uint32, url unsafe.Pointer, urlSize uint32, headers unsafe.Pointer, headerCount uint32,
	body unsafe.Pointer, bodySize uint32, hasTimeout, timeout uint32, result unsafe.Pointer)

func hostNow() int64 { return rawNow() }

func hostRandom(count uint32) []byte {
	var list [2]uint32
	rawRandom(count, unsafe.Pointer(&list))
	return memory[byte](list[0], list[1])
}

func hostEnvironment(name string) (string, bool) {
	name = validUTF8(name)
	var option [3]uint32
	rawEnvironment(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), unsafe.Pointer(&option))
	if option[0]&0xff == 0 {
		return "", false
	}
	return textAt(option[1], option[2]), true
}

// failures are the cases of the variant, in its order.
var failures = [...]HTTPErrorKind{HTTPNotGranted, HTTPInvalid, HTTPUnreachable, HTTPTimedOut, HTTPTooLarge}

func hostSend(request *HTTPRequest) (*HTTPResponse, error) {
	method, url := validUTF8(request.Method), validUTF8(request.URL)
	words := make([]uint32, 0, 4*len(request.Headers))
	texts := make([]string, 0, 2*len(request.Headers))
	for _, header := range request.Headers {
		for _, text := range [...]string{validUTF8(header.Name), validUTF8(header.Value)} {
			words = append(words, address(unsafe.Pointer(unsafe.StringData(text))), uint32(len(text)))
			texts = append(texts, text)
		}
	}
	var hasTimeout, millis uint32
	if request.Timeout != 0 {
		// Rounded up: the shortest time is some, and not none.
		up := (max(request.Timeout, 0) + time.Millisecond - 1) / time.Millisecond
		hasTimeout, millis = 1, uint32(min(up, math.MaxUint32))
	}
	var result [6]uint32
	rawSend(unsafe.Pointer(unsafe.StringData(method)), uint32(len(method)), unsafe.Pointer(unsafe.StringData(url)), uint32(len(url)),
		unsafe.Pointer(unsafe.SliceData(words)), uint32(len(request.Headers)),
		unsafe.Pointer(unsafe.SliceData(request.Body)), uint32(len(request.Body)), hasTimeout, millis, unsafe.Pointer(&result))
	// The collector does not see the addresses among the words.
	runtime.KeepAlive(texts)
	// The kind of a failure, and the status, are narrower than a word.
	if result[0]&0xff != 0 {
		return nil, &HTTPError{failures[result[1]&0xff], textAt(result[2], result[3])}
	}
	response := &HTTPResponse{Status: int(result[1] & 0xffff), Body: memory[byte](result[4], result[5])}
	for pairs := memory[uint32](result[2], 4*result[3]); len(pairs) > 0; pairs = pairs[4:] {
		response.Headers = append(response.Headers, Header{textAt(pairs[0], pairs[1]), textAt(pairs[2], pairs[3])})
	}
	return response, nil
}
