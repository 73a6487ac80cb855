package runtime

import (
	"internal/channel"
	"internal/value"
	"strconv"
)

// panicText is what the host prints of the value of a panic that nothing has recovered.
func panicText(v any) string {
	switch v := v.(type) {
	case error:
		return indented(v.Error())
	case interface{ String() string }:
		return indented(v.String())
	case string:
		return indented(v)
	}
	text := printed(v)
	switch value.Kind(v) {
	case value.Bool, value.Int, value.Uint, value.Float:
	case value.String:
		text = "\"" + indented(text) + "\""
	default:
		return "(" + value.TypeName(v) + ") " + text
	}
	if value.IsNamed(v) {
		return value.TypeName(v) + "(" + text + ")"
	}
	return text
}

// printed is what the builtin print shows of a value.
func printed(v any) string {
	switch value.Kind(v) {
	case value.String:
		return value.AsString(v)
	case value.Bool:
		return strconv.FormatBool(value.Bits(v) != 0)
	case value.Int:
		return strconv.FormatInt(int64(value.Bits(v)), 10)
	case value.Uint:
		return strconv.FormatUint(value.Bits(v), 10)
	case value.Float:
		return strconv.FormatFloat(value.AsFloat(v), 'g', -1, 8*value.Size(v))
	}
	return "0x" + strconv.FormatUint(uint64(value.Word(v)), 16)
}

// indented has a tab in front of each line but the first.
func indented(text string) string {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' {
			text = text[:i+1] + "\t" + text[i+1:]
		}
	}
	return text
}

// The types of the panics of the runtime.
type plainError string
type errorString string
type boundsError string
type TypeAssertionError struct{ text string }
type PanicNilError struct{ text string }

func (e plainError) Error() string          { return string(e) }
func (e plainError) RuntimeError()          {}
func (e errorString) Error() string         { return "runtime error: " + string(e) }
func (e errorString) RuntimeError()         {}
func (e boundsError) Error() string         { return "runtime error: " + string(e) }
func (e boundsError) RuntimeError()         {}
func (e *TypeAssertionError) Error() string { return e.text }
func (e *TypeAssertionError) RuntimeError() {}
func (e *PanicNilError) Error() string      { return e.text }
func (e *PanicNilError) RuntimeError()      {}

func fault(text string) {
	begins := func(with string) bool { return len(text) > len(with) && text[:len(with)] == with }
	const own = "runtime error: "
	switch {
	case begins(own):
		panic(errorString(text[len(own):]))
	case begins("interface conversion"):
		panic(&TypeAssertionError{text})
	case begins("runtime.AddCleanup"):
		panic(text)
	case begins("panic called"):
		panic(&PanicNilError{text})
	}
	panic(plainError(text))
}

func panicIndex(index, length int) {
	text := "index out of range [" + strconv.Itoa(index) + "]"
	if index >= 0 {
		text += " with length " + strconv.Itoa(length)
	}
	panic(boundsError(text))
}

// panicSlice: kind says which bound is out of range.
func panicSlice(found, limit, kind int) {
	from, to := strconv.Itoa(found), strconv.Itoa(limit)
	bounds := ":" + from + "] with capacity " + to
	switch {
	case kind == 1 && found < 0:
		bounds = from + ":]"
	case kind == 1:
		bounds = from + ":" + to + "]"
	case kind == 5 && found < 0:
		bounds = from + "::]"
	case kind == 5:
		bounds = from + ":" + to + ":]"
	case (kind == 2 || kind == 6) && found < 0:
		bounds = "::" + from + "]"
	case kind == 2:
		bounds = ":" + bounds
	case kind == 6:
		bounds = "::" + from + "] with length " + to
	case kind == 4 && found < 0:
		bounds = ":" + from + ":]"
	case found < 0:
		bounds = ":" + from + "]"
	case kind == 3:
		bounds = ":" + from + "] with length " + to
	case kind == 4:
		bounds = ":" + from + ":" + to + "]"
	}
	panic(boundsError("slice bounds out of range [" + bounds))
}

type Error interface {
	error
	RuntimeError()
}

const GOARCH = "amd64"
const GOOS = "linux"
const Compiler = "minigo"

// callNil is the code of a finalizer that is nil.
func callNil() {
	var f func()
	f()
}

func GC()
func Gosched()
func SetFinalizer(obj any, finalizer any)
func KeepAlive(x any)
func goroutines() int
func NumGoroutine() int    { return goroutines() - channel.Timers }
func GOMAXPROCS(n int) int { return 1 }

type Cleanup struct{ number uintptr }

func stopCleanup(number uintptr)
func (c Cleanup) Stop() { stopCleanup(c.number) }

type MemStats struct {
	Alloc, HeapAlloc, HeapObjects uint64
	NumGC                         uint32
}

func readMemStats() (bytes, objects, collections uint64)

func ReadMemStats(m *MemStats) {
	bytes, objects, collections := readMemStats()
	m.Alloc, m.HeapAlloc, m.HeapObjects, m.NumGC = bytes, bytes, objects, uint32(collections)
}
