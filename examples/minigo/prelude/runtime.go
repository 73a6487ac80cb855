package runtime

import (
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
	text := indented(basic(v))
	switch value.Kind(v) {
	case value.Bool, value.Int, value.Uint, value.Float:
	case value.String:
		text = "\"" + text + "\""
	default:
		return "(" + value.TypeName(v) + ") 0x" + strconv.FormatUint(uint64(value.Word(v)), 16)
	}
	if value.IsNamed(v) {
		return value.TypeName(v) + "(" + text + ")"
	}
	return text
}

// basic is a number, a text or a truth.
func basic(v any) string {
	switch value.Kind(v) {
	case value.Bool:
		return strconv.FormatBool(value.Bits(v) != 0)
	case value.Int:
		return strconv.FormatInt(int64(value.Bits(v)), 10)
	case value.Uint:
		return strconv.FormatUint(value.Bits(v), 10)
	case value.Float:
		return strconv.FormatFloat(value.AsFloat(v), 'g', -1, 8*value.Size(v))
	case value.String:
		return value.AsString(v)
	}
	return ""
}

func write(text string)

// print and line are what print and println call.
func print(values ...any) {
	for _, v := range values {
		write(basic(v))
	}
}

func line(values ...any) {
	for i, v := range values {
		if i > 0 {
			write(" ")
		}
		write(basic(v))
	}
	write("\n")
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

// Fault is the type of the panics of the runtime.
type Fault string

func (f Fault) Error() string { return string(f) }
func (f Fault) RuntimeError() {}

func fault(text string) { panic(Fault(text)) }

// panicBounds: the kind says which bound is out of range; one of 8 and more has no sign.
func panicBounds(found, limit, kind int) {
	// F stands for the bound, L for its limit.
	texts := [...]string{
		"[:F] with capacity L", "[:F] with length L", "[F:L]", "[::F] with capacity L",
		"[::F] with length L", "[:F:L]", "[F:L:]", "[F] with length L",
	}
	text := "runtime error: slice bounds out of range "
	if kind%8 == 7 {
		text = "runtime error: index out of range "
	}
	negative := found < 0 && kind < 8
	for _, c := range texts[kind%8] {
		switch {
		case c == 'F' && negative:
			text += strconv.Itoa(found)
		case c == 'F':
			text += strconv.FormatUint(uint64(found), 10)
		case c == ' ' && negative:
			fault(text)
		case c != 'L':
			text += string(c)
		case !negative:
			text += strconv.Itoa(limit)
		}
	}
	fault(text)
}

type Error interface {
	error
	RuntimeError()
}

const GOARCH = "amd64"
const GOOS = "linux"
const Compiler = "minigo"

func GC()
func Gosched()
func SetFinalizer(obj any, finalizer any)
func KeepAlive(x any)
func NumGoroutine() int
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
