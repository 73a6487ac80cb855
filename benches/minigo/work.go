// What a program with finalizers does all day, timed by itself: for real Go and for minigo. Each
// line of its output is a part and its nanoseconds.
package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"weak"
)

// The two constants are replaced before the program is compiled.
const (
	N    = 1000
	Part = ""
)

type Node struct {
	value int
	next  *Node
}

var (
	sink     *Node
	function func(*Node)
	sum      int
	done     atomic.Int64
)

func timed(part string, work func()) {
	if Part != "" && Part != part {
		return
	}
	sink = nil
	function = nil
	runtime.GC()
	start := time.Now()
	work()
	fmt.Println(part, int64(time.Since(start)))
}

func alloc() {
	for i := 0; i < N; i++ {
		sink = &Node{value: i}
	}
}

func lists() {
	for i := 0; i < N/10; i++ {
		var list *Node
		for j := 0; j < 10; j++ {
			list = &Node{j, list}
		}
		sink = list
	}
}

func fields() {
	var list *Node
	for i := 0; i < 100; i++ {
		list = &Node{i, list}
	}
	for i := 0; i < N/100; i++ {
		for node := list; node != nil; node = node.next {
			node.value += i
		}
	}
	sink = list
}

func weakMap() {
	const Keys = 100
	keys := make([]*Node, Keys)
	cache := map[int]weak.Pointer[Node]{}
	for i := 0; i < Keys; i++ {
		keys[i] = &Node{value: i}
		cache[i] = weak.Make(keys[i])
	}
	for i := 0; i < N; i++ {
		if node := cache[i%Keys].Value(); node != nil {
			sum += node.value
		}
	}
	runtime.KeepAlive(keys)
}

func plain() {
	for i := 0; i < N; i++ {
		sink = &Node{value: i}
		function = func(node *Node) {
			done.Add(int64(node.value - i + 1))
		}
	}
	runtime.GC()
}

type Pair struct {
	node     *Node
	function func(*Node)
}

func callAll(pairs []Pair) []Pair {
	for _, pair := range pairs {
		pair.function(pair.node)
	}
	clear(pairs)
	return pairs[:0]
}

// byHand does the least that finalizers can cost: the program keeps each object with its closure,
// and calls a thousand closures at a time.
func byHand() {
	done.Store(0)
	pairs := make([]Pair, 0, 1000)
	for i := 0; i < N; i++ {
		pairs = append(pairs, Pair{&Node{value: i}, func(node *Node) {
			done.Add(int64(node.value - i + 1))
		}})
		if len(pairs) == cap(pairs) {
			pairs = callAll(pairs)
		}
	}
	callAll(pairs)
	runtime.GC()
	if done.Load() != N {
		panic("not all were called")
	}
}

func finalizers() {
	done.Store(0)
	for i := 0; i < N; i++ {
		runtime.SetFinalizer(&Node{value: i}, func(node *Node) {
			done.Add(int64(node.value - i + 1))
		})
	}
	for done.Load() < N {
		runtime.GC()
		time.Sleep(100 * time.Microsecond)
	}
}

func main() {
	timed("alloc", alloc)
	timed("lists", lists)
	timed("fields", fields)
	timed("weak-map", weakMap)
	timed("by-hand", byHand)
	timed("plain", plain)
	timed("finalizers", finalizers)
	if Part == "" && sum == 0 && N > 100 {
		panic("no weak pointer was followed")
	}
}
