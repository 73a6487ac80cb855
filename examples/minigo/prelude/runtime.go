package runtime

import (
	"internal/channel"
	"internal/value"
	"strconv"
)

// panicking is a panic, and the one before during which it has begun.
type panicking struct {
	value     any
	before    *panicking
	recovered uintptr
}

// raise begins a panic; same is whether two values are the same words.
func raise(p *panicking)
func same(a, b any) bool
func fatal(text string)

func panicValue(v any) {
	if v == nil {
		v = &PanicNilError{"runtime error: panic called with nil argument"}
	}
	raise(&panicking{value: v})
}

// die ends the program with a panic that nothing has recovered.
func die(p *panicking, goroutine int) {
	text := report(p, nil)
	for ; p != nil; p = p.before {
		if p.value == any(errorString(nilPointer)) {
			text += "[signal SIGSEGV: segmentation violation]\n"
			break
		}
	}
	fatal(text + "\ngoroutine " + strconv.Itoa(goroutine) + " [running]:")
}

// report is what Go prints of a panic and of those before it.
func report(p, after *panicking) string {
	text := ""
	if p.before != nil {
		text = report(p.before, p)
		if same(p.before.value, p.value) {
			return text
		}
		text += "\t"
	}
	text += "panic: " + panicText(p.value)
	switch {
	case p.recovered == 0:
	case after != nil && same(after.value, p.value):
		text += " [recovered, repanicked]"
	default:
		text += " [recovered]"
	}
	return text + "\n"
}

// panicText is what is printed of the value of a panic.
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
type boundsError struct{ text string }
type TypeAssertionError struct{ text string }
type PanicNilError struct{ text string }

func (e plainError) Error() string          { return string(e) }
func (e plainError) RuntimeError()          {}
func (e errorString) Error() string         { return "runtime error: " + string(e) }
func (e errorString) RuntimeError()         {}
func (e boundsError) Error() string         { return "runtime error: " + e.text }
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
	case begins("runtime.AddCleanup"):
		panic(text)
	}
	panic(plainError(text))
}

func write(text string)

// print and line are what print and println call.
func print(values ...any) {
	for _, v := range values {
		write(printed(v))
	}
}

func line(values ...any) {
	for i, v := range values {
		if i > 0 {
			write(" ")
		}
		write(printed(v))
	}
	write("\n")
}

// Conversions of text.
func textOfBytes(text []byte) string
func bytesOfText(text string) []byte

func textOfRunes(runes []rune) string {
	text := make([]byte, 0, len(runes))
	for _, r := range runes {
		text = appendRune(text, int(r))
	}
	return textOfBytes(text)
}

func textOfRune(r int) string { return textOfBytes(appendRune(nil, r)) }

func runesOfText(text string) []rune {
	runes := make([]rune, 0, len(text))
	for _, r := range text {
		runes = append(runes, r)
	}
	return runes
}

// appendRune adds a character; what is none is U+FFFD.
func appendRune(text []byte, r int) []byte {
	if r < 0 || r > 0x10ffff || r >= 0xd800 && r < 0xe000 {
		r = 0xfffd
	}
	switch {
	case r < 0x80:
		return append(text, byte(r))
	case r < 0x800:
		return append(text, byte(0xc0|r>>6), byte(0x80|r&0x3f))
	case r < 0x10000:
		return append(text, byte(0xe0|r>>12), byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
	}
	return append(text, byte(0xf0|r>>18), byte(0x80|r>>12&0x3f), byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
}

// decode returns the character at a place of a text, U+FFFD for a byte that begins none, and the
// next place.
func decode(text string, at int) (rune, int) {
	r := rune(text[at])
	if r < 0x80 {
		return r, at + 1
	}
	// The bytes of the character, and the least one that needs so many.
	size, least := 0, rune(0)
	switch {
	case r >= 0xf8:
	case r >= 0xf0:
		size, least, r = 4, 0x10000, r&7
	case r >= 0xe0:
		size, least, r = 3, 0x800, r&15
	case r >= 0xc0:
		size, least, r = 2, 0x80, r&31
	}
	if size == 0 || at+size > len(text) {
		return 0xfffd, at + 1
	}
	for i := at + 1; i < at+size; i++ {
		if text[i]>>6 != 2 {
			return 0xfffd, at + 1
		}
		r = r<<6 | rune(text[i]&0x3f)
	}
	if r < least || r > 0x10ffff || r >= 0xd800 && r < 0xe000 {
		return 0xfffd, at + 1
	}
	return r, at + size
}

// typeText is the text of a type by its number, missing the method that a value lacks for it.
func typeText(ty int) string
func isInterface(ty int) bool
func missing(v any, ty int) string

func panicAssertion(v any, to, from int) {
	wanted, found := typeText(to), value.TypeName(v)
	text := typeText(from) + " is "
	switch {
	case v == nil && isInterface(to):
		text = "interface is nil, not " + wanted
	case v == nil:
		text += "nil, not " + wanted
	case isInterface(to):
		text = found + " is not " + wanted + ": missing method " + missing(v, to)
	default:
		text += found + ", not " + wanted
		if found == wanted {
			text += " (types from different scopes)"
		}
	}
	panic(&TypeAssertionError{"interface conversion: " + text})
}

const nilPointer = "invalid memory address or nil pointer dereference"

func panicNil() { panic(errorString(nilPointer)) }

// panicMethod: a nil pointer has no value for a method of the type behind it.
func panicMethod(of, method string) {
	short := of
	for i := range len(of) {
		if of[i] == '.' {
			short = of[i+1:]
		}
	}
	panic(plainError("value method " + of + "." + method + " called using nil *" + short + " pointer"))
}

func panicDivide() { panic(errorString("integer divide by zero")) }
func panicShift()  { panic(errorString("negative shift amount")) }
func stackOverflow()

// panicBounds: the kind says which bound is out of range; one of 8 and more has no sign.
func panicBounds(found, limit, kind int) {
	// F stands for the bound, L for its limit.
	texts := [...]string{
		"[:F] with capacity L", "[:F] with length L", "[F:L]", "[::F] with capacity L",
		"[::F] with length L", "[:F:L]", "[F:L:]", "[F] with length L",
	}
	text := "slice bounds out of range "
	if kind%8 == 7 {
		text = "index out of range "
	}
	negative := found < 0 && kind < 8
	for _, c := range texts[kind%8] {
		switch {
		case c == 'F' && negative:
			text += strconv.Itoa(found)
		case c == 'F':
			text += strconv.FormatUint(uint64(found), 10)
		case c == ' ' && negative:
			panic(boundsError{text})
		case c != 'L':
			text += string(c)
		case !negative:
			text += strconv.Itoa(limit)
		}
	}
	panic(boundsError{text})
}

type Error interface {
	error
	RuntimeError()
}

const GOARCH = "amd64"
const GOOS = "linux"
const Compiler = "minigo"

// hashed is what a map is, as the host has it: the keys that are there, the entries that were used,
// how many there may be, the entries, and an index of them by hash.
type hashed struct {
	count, used, cap uintptr
	entries, index   *byte
}

// What len, clear and weak.Make call.
func mapLen(m *hashed) int {
	if m == nil {
		return 0
	}
	return int(m.count)
}

func clearMap(m *hashed) {
	if m != nil {
		*m = hashed{}
	}
}

func weakMake(p *byte) *byte

// weakPointer is what weak pointers are whose method is a value: the address of a cell, or nil.
type weakPointer struct{ cell *struct{ to *byte } }

func (w weakPointer) value() *byte {
	if w.cell == nil {
		return nil
	}
	return w.cell.to
}

func GC()
func Gosched()
func SetFinalizer(obj any, finalizer any)
func KeepAlive(x any) {}
func goroutines() int
func NumGoroutine() int    { return goroutines() - channel.Timers }
func GOMAXPROCS(n int) int { return 1 }

type Cleanup struct{ object, number uint64 }

func stopCleanup(object, number uint64)
func (c Cleanup) Stop() { stopCleanup(c.object, c.number) }

type MemStats struct {
	Alloc, HeapAlloc, HeapObjects uint64
	NumGC                         uint32
}

func readMemStats() (bytes, objects, collections uint64)

func ReadMemStats(m *MemStats) {
	bytes, objects, collections := readMemStats()
	m.Alloc, m.HeapAlloc, m.HeapObjects, m.NumGC = bytes, bytes, objects, uint32(collections)
}
