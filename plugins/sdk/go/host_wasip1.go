package tidegate

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"
)

// The canonical ABI of the contract, by hand: it is small, and no generated code or other module is needed for it.

//go:wasmimport tidegate:plugin/log@0.1.0 log
func rawLog(level uint32, text unsafe.Pointer, size uint32)

//go:wasmimport tidegate:plugin/metrics@0.1.0 count
func rawCount(name unsafe.Pointer, size uint32, add uint64)

//go:wasmimport tidegate:plugin/metrics@0.1.0 gauge
func rawGauge(name unsafe.Pointer, size uint32, value float64)

// The stub of WASI puts lines of the standard output together here; it has no memory of its own.
//
//go:wasmimport wasi_snapshot_preview1 tidegate_line_buffer
func rawLineBuffer(at unsafe.Pointer, size uint32)

var line [4096]byte

func init() { rawLineBuffer(unsafe.Pointer(&line), uint32(len(line))) }

func hostLog(level int, message string) {
	message = validUTF8(message)
	rawLog(uint32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

func hostCount(name string, add uint64) {
	name = validUTF8(name)
	rawCount(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), add)
}

func hostGauge(name string, value float64) {
	name = validUTF8(name)
	rawGauge(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), value)
}

// held keeps alive what the host reads and writes by address: the batch from its first allocation on, then the result.
var held []any

// large is a size at which the garbage before it counts against the plugin's memory limit.
const large = 1 << 20

//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	if size <= oldSize || size == 0 {
		return max(old, align)
	}
	if size > large {
		// The collector does not know how much memory there is, and would let the last batch lie beside this one.
		runtime.GC()
	}
	// Words, so that the address suits every alignment. The memory is the batch's own for good: documents may be kept.
	block := make([]uint64, (uint64(size)+7)/8)
	held = append(held, block)
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&block[0])), size), memory[byte](old, oldSize))
	}
	return address(unsafe.Pointer(&block[0]))
}

func address(pointer unsafe.Pointer) uint32 { return uint32(uintptr(pointer)) }

// memory is what the host wrote where `realloc` said.
func memory[T any](at, count uint32) []T {
	if count == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(at))), count)
}

func textAt(at, size uint32) string {
	return unsafe.String(unsafe.SliceData(memory[byte](at, size)), size)
}

// result gives the host the address of words laid out as the canonical ABI says.
func result(words ...uint32) uint32 { return hold(words) }

func hold[T any](list []T) uint32 {
	if len(list) == 0 {
		return 8
	}
	held = append(held, list)
	return address(unsafe.Pointer(unsafe.SliceData(list)))
}

// text is the address and size of text, as two words.
func text(value string) (uint32, uint32) {
	value = validUTF8(value)
	held = append(held, value)
	return address(unsafe.Pointer(unsafe.StringData(value))), uint32(len(value))
}

// done lets go of the batch and its result.
func done() { held = nil }

// guard makes a panic one line in the log, and ends the instance: the host finds the guilty change and sets it aside.
func guard() {
	if reason := recover(); reason != nil {
		hostLog(levelError, fmt.Sprintf("panic: %v\n%s", reason, debug.Stack()))
		os.Exit(2)
	}
}

//go:wasmexport tidegate:plugin/plugin@0.1.0#manifest
func exportedManifest() uint32 {
	defer guard()
	words := make([]uint32, 9)
	words[0], words[1] = text(manifest.Name)
	words[2], words[3] = text(manifest.Version)
	words[4], words[5] = text(manifest.Description)
	if manifest.ConfigSchema != "" {
		words[6] = 1
		words[7], words[8] = text(manifest.ConfigSchema)
	}
	return result(words...)
}

//go:wasmexport tidegate:plugin/plugin@0.1.0#configure
func exportedConfigure(config, size uint32) uint32 {
	defer guard()
	made, err := Configure(textAt(config, size))
	if err != nil {
		at, length := text(err.Error())
		return result(1, at, length)
	}
	instance = made
	return result(0, 0, 0)
}

//go:wasmexport tidegate:plugin/documents@0.1.0#encoding
func exportedEncoding() uint32 {
	const json = 1
	return json
}

//go:wasmexport cabi_post_tidegate:plugin/plugin@0.1.0#manifest
func manifestDone(uint32) { done() }

//go:wasmexport cabi_post_tidegate:plugin/plugin@0.1.0#configure
func configureDone(uint32) { done() }
