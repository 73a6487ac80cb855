// Corners of the language: what Go's own tests and other programs have found.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"weak"
)

type (
	Node  *Node
	Pair  struct{ a, b int }
	Array [2]int
	Named *int
	First struct{ next *Second }
	// The same as a type that mentions it.
	Second First
	Tagged struct {
		Name string `json:"name"`
		Age  int    `json:"age,omitempty"`
	}
)

func node(Node) string { return "node" }

func two() (int, string)          { return 7, "two" }
func slices() ([]int, int)        { return []int{1}, 2 }
func bytes() ([]byte, string)     { return make([]byte, 3), "ab" }
func entry() (map[int]int, int)   { return shared, 1 }
func floats() (float64, float64)  { return 2, 1 }
func pointer() (p *Pair, ok bool) { return &Pair{1, 2}, true }

var (
	shared = map[int]int{1: 1, 2: 2}
	_, _   = two()
	_, _   = two()
	// Each is initialized by itself, when what it needs is there.
	later, alone = order("later", needed), order("alone", 0)
	needed       = order("needed", 1)
)

func order(name string, n int) int {
	fmt.Println("initialized:", name)
	return n + 1
}

type Closer interface{ Close() }

type File struct{ name string }

func (f File) Close()   { fmt.Println(f.name, "recovered", recover()) }
func (f *File) Closed() { fmt.Println(f.name, "recovered", recover()) }

type Wrapped struct{ *File }

func (Pair) _() {}
func (Pair) _() {}

func recovering(deferred func()) {
	defer fmt.Println("-")
	defer deferred()
	panic("p")
}

func recovers() {
	f := &File{"file"}
	func() {
		var c Closer = f
		defer c.Close()
		panic("by an interface")
	}()
	func() {
		w := Wrapped{f}
		defer w.Closed()
		panic("promoted")
	}()
	func() {
		var c Closer = Wrapped{f}
		defer c.Close()
		panic("promoted, by an interface")
	}()
	func() {
		defer File.Close(*f)
		panic("by a method expression")
	}()
	func() {
		defer (*Wrapped).Closed(&Wrapped{f})
		panic("by an expression of a promoted method")
	}()
	var c Closer = File{"value"}
	for _, deferred := range []func(){f.Close, f.Closed, c.Close, Wrapped{f}.Closed} {
		recovering(deferred)
	}
}

func shifts() {
	one, count := 1, uint64(1<<64-1)
	minus := -1
	minus >>= 1 << 63
	fmt.Println(one<<(1<<64-1), one<<count, minus>>count, minus, uint8(one)<<count)
}

func comparisons() {
	both := make(chan int)
	var receive <-chan int = both
	x := 1
	var named Named = &x
	var large, other [100]int
	other[99] = 1
	fmt.Println(receive == both, both != receive, named == &x, Array{1, 2} == [2]int{1, 2})
	fmt.Println(Pair{1, 2} == struct{ a, b int }{1, 2}, large == other, large != [100]int{})
	var truth any = true
	switch {
	case truth:
		fmt.Println("true")
	}
}

func literals() {
	lists := []*[]int{{1, 2}, {3}}
	maps := map[string]*map[int]string{"a": {1: "one"}}
	type P *struct{ x int }
	pairs := []P{{1}, {2}}
	fmt.Println(*lists[0], *lists[1], *maps["a"], pairs[1].x)
	w := weak.Make(&lists)
	fmt.Println(w == weak.Pointer[[]*[]int]{}, (&w).Value() == &lists)
	fmt.Printf("%+v %v\n", Tagged{"n", 3}, Second{}.next == nil)
}

func texts() {
	type Pair struct{ a int }
	var held any = Pair{}
	defer func() {
		err := recover().(error)
		var fault runtime.Error
		_, is := err.(runtime.Error)
		fmt.Println(err, fault == nil, is, errors.Unwrap(err))
	}()
	func() {
		defer func() { fmt.Println(recover()) }()
		var none *File
		Closer.Close(none)
	}()
	_ = held.(fmt.Stringer)
}

func main() {
	fmt.Println(node(nil), len(append(slices())), copy(bytes()), min(floats()), max(floats()))
	func() {
		defer delete(entry())
	}()
	fmt.Println(len(shared))
	recovers()
	shifts()
	comparisons()
	literals()
	texts()
	weakPointers()
	types()
	nothing := make([]struct{}, 1<<62)
	fmt.Println(len(nothing), cap(nothing[1:]))
	zero := 0.0
	keys := map[float64]string{zero: "zero"}
	keys[-zero] = "still"
	keys[zero*-1] = "minus"
	fmt.Println(keys, (<-chan <-chan int)(nil) == nil)
	var n uint32
	fmt.Println(atomic.SwapUint32(&n, 3), atomic.CompareAndSwapUint32(&n, 3, 4), n)
	for _, d := range []time.Duration{2965990114, 5400e9, 1<<62 + 12345678901} {
		fmt.Println(d.Seconds(), d.Minutes(), d.Hours(), d.Round(time.Minute), d.Truncate(7))
	}
	results := make(chan int, 1)
	results <- 5
	select {
	case v := (<-results):
		fmt.Println(v)
	}
}

var global = Pair{3, 4}

func weakPointers() {
	w := weak.Make(&global)
	runtime.SetFinalizer(&global, func(*Pair) {})
	runtime.AddCleanup(&global, func(int) {}, 1).Stop()
	value := w.Value
	defer w.Value()
	fmt.Println(value() == &global, weak.Make(&global.b).Value() == &global.b, w == weak.Make(&global))
	var none weak.Pointer[Pair]
	value = none.Value
	fmt.Println(value() == nil)
}

// Types that mention each other, as parts and behind pointers.
type (
	Outer struct{ inner *Inner }
	Inner struct {
		outer Outer
		n     int
	}
	Row   struct{ next *[2]Row }
	Board struct{ rows []Row }
	Tree  struct {
		kids   []Tree
		byName map[string]Tree
		pair   *[3]Leaf
	}
	Leaf struct{ tree Tree }
)

func types() {
	outer := &Outer{}
	outer.inner = &Inner{n: 3}
	outer.inner.outer.inner = outer.inner
	rows := []Row{{}, {next: new([2]Row)}}
	trees := [2]*Tree{{kids: []Tree{{}, {}}}, {pair: &[3]Leaf{}}}
	fmt.Println(outer.inner.outer.inner.n, len(rows[1].next), Board{rows}.rows[0].next == nil)
	fmt.Println(len(trees[0].kids), len(trees[1].pair), [2]*Outer{}[1] == nil)
	converted := (func() int)(seven)
	small := -1e-400
	fmt.Println(converted(), 1/small, later, alone, needed)
	defer func() { fmt.Println(fmt.Sprint(nil, recover(), 2)) }()
	fmt.Println(rows[len(trees)+1])
}

func seven() int { return 7 }
