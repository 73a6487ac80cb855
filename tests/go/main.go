// The Go side of the Go oracle: finalizers and other callees for the real Go compiler to compile.
//
// The tests map the finished executable into their own process and call these functions directly; nothing of Go's start-up
// code runs. So no function here may need a live runtime: no allocation, no panic that fires, no map, no channel, no growing stack.
// Results are the same everywhere: (5151, 4.0, 1..10); what a function saw goes into Confirmed and its companions below.
package main

import "unsafe"

// Tint is the number a finalizer confirms.
type Tint int

// TintPointer is the finalizable object: one word, the address of a number.
type TintPointer struct {
	P *Tint
}

// Tinter is an interface with one method; Read is the method finalizers call through the itab.
type Tinter interface {
	Read() int
}

//go:noinline
func (t *TintPointer) Read() int {
	Methods++
	return int(*t.P)
}

// Bystander is a second type of Tinter, so that no itab call can be turned into a direct one.
type Bystander struct {
	P *Tint
}

//go:noinline
func (b *Bystander) Read() int { return -int(*b.P) }

// What the functions leave behind. The tests find these by name.
var (
	Confirmed int        // the number behind the last object
	Calls     int        // finalizer calls so far
	Methods   int        // calls of (*TintPointer).Read so far
	Captured  int        // the variable captured by the last closure
	LastWord0 uintptr    // first word of the last interface seen
	LastWord1 uintptr    // second word of the last interface seen
	Saved     *Tint      // a pointer stored by pointerStore: meets the write barrier's check
	Log       [64]int    // Confirmed after each call, in order
	Sum       [4]float64 // what wide saw of its float arguments
)

// Interface values that the linker lays out, for their first words: Go's own itab and type words have no symbol of their own.
var (
	ProtoTinter    Tinter = (*TintPointer)(nil)
	ProtoBystander Tinter = (*Bystander)(nil)
	ProtoAny       any    = (*TintPointer)(nil)
)

//go:noinline
func confirm(n int) {
	if uint(Calls) < uint(len(Log)) {
		Log[Calls] = n
	}
	Confirmed = n
	Calls++
}

type words [2]uintptr

//go:noinline
func FinalizePointer(v *TintPointer) (int, float32, [10]byte) {
	confirm(int(*v.P))
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

//go:noinline
func FinalizeTinter(v Tinter) (int, float32, [10]byte) {
	w := (*words)(unsafe.Pointer(&v))
	LastWord0, LastWord1 = w[0], w[1]
	confirm(v.Read())
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

//go:noinline
func FinalizeAny(v any) (int, float32, [10]byte) {
	w := (*words)(unsafe.Pointer(&v))
	LastWord0, LastWord1 = w[0], w[1]
	if t, ok := v.(*TintPointer); ok {
		confirm(int(*t.P))
	}
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

// FinalizeSpill is the shape of golang/go#51457: v lives across a call, so its two register words go to their spill slots,
// which lie behind 32 bytes of stack results.
//
//go:noinline
func FinalizeSpill(v any) [4]int64 {
	confirm(7)
	if t, ok := v.(*TintPointer); ok {
		confirm(int(*t.P))
	}
	return [4]int64{5151, 5152, 5153, 5154}
}

// FinalizeNothing has no result at all.
//
//go:noinline
func FinalizeNothing(v *TintPointer) {
	confirm(int(*v.P))
}

// FinalizeChain calls itself: each level has a frame and the compiler's stack check, which reads g.
//
//go:noinline
func FinalizeChain(v *TintPointer) (int, float32, [10]byte) {
	confirm(chain(int(*v.P), 8))
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

//go:noinline
func chain(n, depth int) int {
	var room [128]int
	for i := range room {
		room[i] = n + i
	}
	if depth == 0 {
		return room[0]
	}
	deeper := chain(n, depth-1)
	return room[depth] - depth + deeper - n
}

// FinalizeStore stores the object's pointer in a package variable, which meets the write barrier's check.
//
//go:noinline
func FinalizeStore(v *TintPointer) {
	Saved = v.P
	confirm(int(*v.P))
}

// NewClosure makes a finalizer that captured k. A closure value is {code address, captured words...}: the tests build the
// value themselves (making one allocates), with the code of NewClosure.func1.
//
//go:noinline
func NewClosure(k int) func(*TintPointer) (int, float32, [10]byte) {
	return func(v *TintPointer) (int, float32, [10]byte) {
		Captured = k
		confirm(int(*v.P) + k)
		return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	}
}

// Wide has integer, float, string, slice and stack parameters: an ordinary call, for callbacks and cleanups.
//
//go:noinline
func Wide(a int8, b float32, s string, p []byte, x float64, late [2]int64, z uint16) (int, float64, uint8, string) {
	Sum = [4]float64{float64(b), x, float64(late[0]), float64(late[1])}
	n := int(a) + len(s) + len(p) + cap(p) + int(z)
	for _, c := range p {
		n += int(c)
	}
	return n, float64(b) * x, s[0], s[1:]
}

// Argument is what cleanups capture: two words, the second of them an object.
type Argument struct {
	Number uint32
	Short  int16
	Object *TintPointer
}

// Cleanups with arguments of 16 bytes: in two integer registers and a third, in float registers, as a string, and on the frame.
//
//go:noinline
func CleanUpStruct(a Argument) {
	LastWord0, Captured = uintptr(a.Number), int(a.Short)
	confirm(int(*a.Object.P))
}

//go:noinline
func CleanUpFloats(a struct {
	X float32
	N uint8
	Y float64
}) {
	Sum = [4]float64{float64(a.X), a.Y}
	confirm(int(a.N))
}

// Many is an argument for nine registers, Numbers one that no register takes.
type Many struct {
	A, B, C int64
	Name    string
	Object  *TintPointer
	X       float32
	Y       float64
}

type Numbers struct {
	N      [4]int64
	Object *TintPointer
	Name   string
}

//go:noinline
func CleanUpMany(m Many) (int, float32, [10]byte) {
	Sum = [4]float64{float64(m.X), m.Y, float64(m.A + 10*m.B + 100*m.C)}
	confirm(int(*m.Object.P) + 1000000*len(m.Name))
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

//go:noinline
func CleanUpNumbers(n Numbers) [6]int64 {
	LastWord0, Captured = uintptr(n.N[0]), int(n.N[3])
	confirm(int(*n.Object.P) + int(n.Name[0]))
	return [6]int64{6, 5, 4, 3, 2, 1}
}

//go:noinline
func CleanUpString(s string) { confirm(len(s) + 1000*int(s[len(s)-1])) }

//go:noinline
func CleanUpArray(a [2]uint64) { confirm(int(a[0] + 1000*a[1])) }

// Assembly with Go's ABI0: everything on the frame. See callees_amd64.s.
func ABI0Pointer(v *TintPointer) (int, float32, [10]byte)
func ABI0Tinter(v Tinter) (int, float32, [10]byte)
func ABI0Any(v any) (int, float32, [10]byte)

// keep holds each callee, so that the linker keeps them all; main is never run by the tests.
var keep = []any{
	FinalizePointer, FinalizeTinter, FinalizeAny, FinalizeSpill, FinalizeNothing, FinalizeChain, FinalizeStore, NewClosure, Wide,
	ABI0Pointer, ABI0Tinter, ABI0Any, CleanUpStruct, CleanUpFloats, CleanUpString, CleanUpArray,
	CleanUpMany, CleanUpNumbers,
}

func main() {
	n := Tint(-1)
	t := &TintPointer{&n}
	for _, f := range keep {
		switch f := f.(type) {
		case func(*TintPointer) (int, float32, [10]byte):
			f(t)
		case func(Tinter) (int, float32, [10]byte):
			f(t)
			f(&Bystander{&n})
		case func(any) (int, float32, [10]byte):
			f(t)
		case func(int) func(*TintPointer) (int, float32, [10]byte):
			f(3)(t)
		}
	}
	println(Confirmed, Calls, Methods, Captured, LastWord0 != 0, LastWord1 != 0, Saved != nil, Log[0], Sum[0],
		ProtoTinter != nil, ProtoBystander != nil, ProtoAny != nil)
}
