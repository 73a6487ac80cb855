// The Go side of tests/differential.rs: runs programs with the real Go runtime and says what happened.
//
// Programs come on standard input in the text form of tests/differential/program.rs, one operation a line; each `collect`
// or `twice` is answered by one line of sorted events, each program by a line `end`. An operation on a root that is nil does nothing.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"
	"weak"
)

// Every object begins with its number and its state; pointers follow. Leaf has none, and is too big to share a block.
type (
	Leaf struct {
		ID, State uint64
		Data      [3]uint64
	}
	One struct {
		ID, State uint64
		P         [1]unsafe.Pointer
	}
	Three struct {
		ID, State uint64
		P         [3]unsafe.Pointer
	}
	Big struct {
		ID, State uint64
		P         [2]unsafe.Pointer
		Data      [75]uint64
	}
	Huge struct {
		ID, State uint64
		P         [2]unsafe.Pointer
		Data      [5000]uint64
	}
)

// Numberer is what finalizers with an interface parameter take.
type Numberer interface{ Number() uint64 }

func (p *Leaf) Number() uint64  { return p.ID }
func (p *One) Number() uint64   { return p.ID }
func (p *Three) Number() uint64 { return p.ID }
func (p *Big) Number() uint64   { return p.ID }
func (p *Huge) Number() uint64  { return p.ID }

// Bits of State.
const (
	finalizerSet = 1 << 0
	innerSet     = 1 << 1
	typeShift    = 4  // 4 bits: index of the type
	kindShift    = 8  // 4 bits: what the finalizer does
	paramShift   = 12 // 4 bits: what it takes
	againShift   = 16 // 8 bits: how often it registers itself again
	placeShift   = 32 // 4 bits for each pointer: where in its target it points, 0 for the start
)

var (
	fields = [...]int{0, 1, 3, 2, 2}
	sizes  = [...]uintptr{unsafe.Sizeof(Leaf{}), unsafe.Sizeof(One{}), unsafe.Sizeof(Three{}), unsafe.Sizeof(Big{}), unsafe.Sizeof(Huge{})}
)

const rootCount = 16

type weakHandle struct {
	w      weak.Pointer[uint64]
	target uint64
	offset uintptr
}

var (
	program  uint64
	roots    [rootCount]unsafe.Pointer
	lock     sync.Mutex // the rest is shared with finalizers and cleanups
	globals  []unsafe.Pointer
	events   []string
	weaks    map[int]weakHandle
	cleanups map[int]runtime.Cleanup
	fence    [2]uint64
)

func id(p unsafe.Pointer) uint64     { return (*Leaf)(p).ID & 0xffffffff }
func state(p unsafe.Pointer) *uint64 { return &(*Leaf)(p).State }
func kindOf(p unsafe.Pointer) int    { return int(*state(p) >> typeShift & 15) }
func field(p unsafe.Pointer, n int) *unsafe.Pointer {
	if n >= fields[kindOf(p)] {
		return nil
	}
	return (*unsafe.Pointer)(unsafe.Add(p, 16+8*n))
}

// offset is where in p's object a place is.
func offset(p unsafe.Pointer, place int) uintptr {
	switch place {
	case 0:
		return 0
	case 1:
		return 8
	}
	return sizes[kindOf(p)] - 8
}

// say logs an event of the object's program, unless that is over. The lock is held.
func say(of uint64, event string) {
	if of == program {
		events = append(events, event)
	}
}

func setOf[T any](p unsafe.Pointer, param uint64) {
	object := (*T)(p)
	switch param {
	case 0:
		runtime.SetFinalizer(object, func(p *T) { finalize(unsafe.Pointer(p)) })
	case 1:
		runtime.SetFinalizer(object, func(p any) { finalize(unsafe.Pointer(p.(*T))) })
	case 2:
		runtime.SetFinalizer(object, func(p Numberer) { finalize(unsafe.Pointer(p.(any).(*T))) })
	}
}

func set(p unsafe.Pointer) {
	*state(p) |= finalizerSet
	param := *state(p) >> paramShift & 15
	switch kindOf(p) {
	case 0:
		setOf[Leaf](p, param)
	case 1:
		setOf[One](p, param)
	case 2:
		setOf[Three](p, param)
	case 3:
		setOf[Big](p, param)
	case 4:
		setOf[Huge](p, param)
	}
}

func clear(p unsafe.Pointer) {
	*state(p) &^= finalizerSet
	switch kindOf(p) {
	case 0:
		runtime.SetFinalizer((*Leaf)(p), nil)
	case 1:
		runtime.SetFinalizer((*One)(p), nil)
	case 2:
		runtime.SetFinalizer((*Three)(p), nil)
	case 3:
		runtime.SetFinalizer((*Big)(p), nil)
	case 4:
		runtime.SetFinalizer((*Huge)(p), nil)
	}
}

// finalize is every object's finalizer; the object says what it does.
func finalize(p unsafe.Pointer) {
	lock.Lock()
	defer lock.Unlock()
	of := (*Leaf)(p).ID >> 32
	if of != program {
		return
	}
	event := "F" + strconv.Itoa(int(id(p)))
	for w, handle := range weaks {
		if handle.target == id(p) && handle.w.Value() != nil {
			event += "!w" + strconv.Itoa(w)
		}
	}
	say(of, event)
	s := state(p)
	*s &^= finalizerSet
	first := field(p, 0)
	whole := first != nil && *first != nil && *s>>placeShift&15 == 0
	switch *s >> kindShift & 15 {
	case 1: // keep
		globals = append(globals, p)
	case 2: // again
		if *s>>againShift&255 != 0 {
			*s -= 1 << againShift
			set(p)
		}
	case 3: // save
		if whole {
			globals = append(globals, *first)
		}
	case 4: // cut
		if first != nil {
			*first = nil
		}
	case 5: // child
		if whole && *state(*first)&finalizerSet == 0 {
			c := state(*first)
			*c &^= 15<<kindShift | 15<<paramShift
			set(*first)
		}
	}
}

func finalizeInner(p *uint64) {
	object := unsafe.Add(unsafe.Pointer(p), -8)
	lock.Lock()
	defer lock.Unlock()
	*p &^= innerSet
	say((*Leaf)(object).ID>>32, "I"+strconv.Itoa(int(id(object))))
}

type cleanupArgument struct {
	Program, Cleanup uint32
	Object           unsafe.Pointer
}

func cleanUp(argument cleanupArgument) {
	lock.Lock()
	defer lock.Unlock()
	event := "C" + strconv.Itoa(int(argument.Cleanup))
	if argument.Object != nil {
		event += ":" + strconv.Itoa(int(id(argument.Object)))
	}
	say(uint64(argument.Program), event)
}

func place(name string) int {
	return slices.Index([]string{"start", "second", "last"}, name)
}

//go:noinline
func alloc(root, number, kind int) {
	var p unsafe.Pointer
	switch kind {
	case 0:
		p = unsafe.Pointer(new(Leaf))
	case 1:
		p = unsafe.Pointer(new(One))
	case 2:
		p = unsafe.Pointer(new(Three))
	case 3:
		p = unsafe.Pointer(new(Big))
	case 4:
		p = unsafe.Pointer(new(Huge))
	}
	(*Leaf)(p).ID = program<<32 | uint64(number)
	*state(p) = uint64(kind) << typeShift
	roots[root] = p
}

// step runs one operation. Nothing of it is on the stack when it has returned.
//
//go:noinline
func step(words []string) {
	lock.Lock()
	defer lock.Unlock()
	number := func(n int) int {
		v, err := strconv.Atoi(words[n])
		if err != nil {
			panic(err)
		}
		return v
	}
	var p unsafe.Pointer
	switch words[0] {
	case "alloc":
		alloc(number(1), number(2), slices.Index([]string{"leaf", "one", "three", "big", "huge"}, words[3]))
		return
	case "dropglobals":
		globals = nil
		return
	case "stop":
		if c, ok := cleanups[number(1)]; ok {
			c.Stop()
		}
		return
	case "strong":
		if handle, ok := weaks[number(1)]; ok {
			if value := handle.w.Value(); value != nil {
				roots[number(2)] = unsafe.Add(unsafe.Pointer(value), -int(handle.offset))
			}
		}
		return
	default:
		p = roots[number(1)]
	}
	if p == nil {
		return
	}
	s := state(p)
	switch words[0] {
	case "link":
		to, at := roots[number(3)], place(words[4])
		slot := field(p, number(2))
		if to == nil || slot == nil {
			return
		}
		*slot = unsafe.Add(to, offset(to, at))
		*s = *s&^(15<<(placeShift+4*number(2))) | uint64(at)<<(placeShift+4*number(2))
	case "cut":
		if slot := field(p, number(2)); slot != nil {
			*slot = nil
		}
	case "fin":
		if *s&finalizerSet != 0 {
			return
		}
		kind := slices.Index([]string{"plain", "keep", "again", "save", "cut", "child"}, words[2])
		param := slices.Index([]string{"pointer", "any", "interface"}, words[3])
		*s &^= 15<<kindShift | 15<<paramShift | 255<<againShift
		*s |= uint64(kind)<<kindShift | uint64(param)<<paramShift | 2<<againShift
		set(p)
	case "clear":
		clear(p)
	case "inner":
		if *s&innerSet == 0 {
			*s |= innerSet
			runtime.SetFinalizer(s, finalizeInner)
		}
	case "clearinner":
		*s &^= innerSet
		runtime.SetFinalizer(s, nil)
	case "cleanup":
		argument := cleanupArgument{Program: uint32(program), Cleanup: uint32(number(2))}
		if words[4] != "-" {
			argument.Object = roots[number(4)]
		}
		c := runtime.AddCleanup((*uint64)(unsafe.Add(p, offset(p, place(words[3])))), cleanUp, argument)
		cleanups[number(2)] = c
	case "weak":
		at := offset(p, place(words[3]))
		weaks[number(2)] = weakHandle{weak.Make((*uint64)(unsafe.Add(p, at))), id(p), at}
	case "copy":
		roots[number(2)] = p
	case "drop":
		roots[number(1)] = nil
	default:
		panic("operation " + words[0])
	}
}

// sentinel makes garbage whose finalizer and cleanup run after the next collection.
//
//go:noinline
func sentinel() {
	runtime.SetFinalizer(new(One), func(*One) { lock.Lock(); fence[0]++; lock.Unlock() })
	runtime.AddCleanup(new(One), func(int) { lock.Lock(); fence[1]++; lock.Unlock() }, 0)
}

var counts = []metrics.Sample{
	{Name: "/gc/finalizers/queued:finalizers"}, {Name: "/gc/finalizers/executed:finalizers"},
	{Name: "/gc/cleanups/queued:cleanups"}, {Name: "/gc/cleanups/executed:cleanups"},
}

// collect collects and waits until every finalizer and cleanup that is due has run. None of them ends before the last of the
// collections is over.
func collect(times int, collections uint64) {
	sentinel()
	lock.Lock()
	for range times {
		runtime.GC()
	}
	lock.Unlock()
	for {
		lock.Lock()
		passed := fence[0] == collections && fence[1] == collections
		lock.Unlock()
		if passed {
			metrics.Read(counts)
			if counts[0].Value.Uint64() == counts[1].Value.Uint64() && counts[2].Value.Uint64() == counts[3].Value.Uint64() {
				return
			}
		}
		runtime.Gosched()
	}
}

// report is what the program can see: the events since the last report, and which weak handles are whole and equal.
//
//go:noinline
func report() string {
	lock.Lock()
	defer lock.Unlock()
	slices.Sort(events)
	text := strings.Join(events, " ")
	events = nil
	var numbers []int
	for w := range weaks {
		numbers = append(numbers, w)
	}
	slices.Sort(numbers)
	for i, w := range numbers {
		sign := "-"
		if weaks[w].w.Value() != nil {
			sign = "+"
		}
		text += fmt.Sprintf(" w%d%s", w, sign)
		for _, other := range numbers[:i] {
			if weaks[other].w == weaks[w].w {
				text += fmt.Sprintf("=%d", other)
				break
			}
		}
	}
	return strings.TrimSpace(text)
}

func main() {
	debug.SetGCPercent(-1)
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	var collections uint64
	for in.Scan() {
		words := strings.Fields(in.Text())
		switch words[0] {
		case "program":
			lock.Lock()
			program++
			roots, globals, events = [rootCount]unsafe.Pointer{}, nil, nil
			weaks, cleanups = map[int]weakHandle{}, map[int]runtime.Cleanup{}
			lock.Unlock()
		case "collect", "twice":
			times := 1
			if words[0] == "twice" {
				times = 2
			}
			collections++
			collect(times, collections)
			fmt.Fprintln(out, report())
		case "end":
			fmt.Fprintln(out, "end")
		default:
			step(words)
		}
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}
