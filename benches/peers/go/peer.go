// Go: runtime.SetFinalizer and runtime.AddCleanup. See ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

type object struct{ a, b, c, d uint64 }

// Finalizers count; one goroutine runs them, so one writer. Cleanups may run on several.
var calls, wanted atomic.Int64
var done = make(chan struct{}, 1)

func tick() { counted(calls.Load() + 1) }

func counted(now int64) {
	calls.Store(now)
	if now == wanted.Load() {
		done <- struct{}{}
	}
}

func ofPointer(*object) { tick() }
func ofInterface(any)   { tick() }
func results(*object) (int, float32, [10]byte) {
	tick()
	return 1, 1.5, [10]byte{1}
}
func cleanup(int) {
	if calls.Add(1) == wanted.Load() {
		done <- struct{}{}
	}
}

var targets = [...]func(*object){
	func(*object) { tick() }, func(*object) { tick() }, func(*object) { tick() }, func(*object) { tick() },
	func(*object) { tick() }, func(*object) { tick() }, func(*object) { tick() }, func(*object) { tick() },
}

// contexts is the sum of what the closures hold, so that each holds a word of its own.
var contexts int

type phases map[string]float64

var (
	kind string
	n    int
	keep []*object
)

// timed runs body and notes what it took for each object.
func (p phases) timed(name string, body func()) {
	begun := time.Now()
	body()
	p[name] = float64(time.Since(begun).Nanoseconds()) / float64(n)
}

// shuffled gives numbers below below in an unpredictable order, the same each time.
func shuffled(below uint64) func() int {
	state := uint64(88172645463325252)
	return func() int {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		return int((state >> 32) % below)
	}
}

func register(different int) {
	switch kind {
	case "pointer":
		if different == 1 {
			for _, o := range keep {
				runtime.SetFinalizer(o, ofPointer)
			}
			return
		}
		next := shuffled(uint64(different))
		for _, o := range keep {
			runtime.SetFinalizer(o, targets[next()])
		}
	case "interface":
		for _, o := range keep {
			runtime.SetFinalizer(o, ofInterface)
		}
	case "results":
		for _, o := range keep {
			runtime.SetFinalizer(o, results)
		}
	case "closure":
		for i, o := range keep {
			runtime.SetFinalizer(o, func(*object) {
				contexts += i
				tick()
			})
		}
	case "cleanup":
		for i, o := range keep {
			runtime.AddCleanup(o, cleanup, i)
		}
	}
}

// shuffle puts values into a random order, the same each time.
func shuffle[T any](values []T) {
	state := uint64(88172645463325252)
	for last := len(values) - 1; last > 0; last-- {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		other := int((state >> 32) % uint64(last+1))
		values[last], values[other] = values[other], values[last]
	}
}

// resident says how many bytes of the process are in memory.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	var size, pages float64
	fmt.Sscan(string(text), &size, &pages)
	return pages * float64(os.Getpagesize())
}

// hold has all goroutines that run finalizers or cleanups wait until release is called.
func hold() (release func()) {
	gate, entered := make(chan struct{}), make(chan struct{}, 64)
	wait := func() { entered <- struct{}{}; <-gate }
	holders := 1
	if kind == "cleanup" {
		holders = max(runtime.GOMAXPROCS(0)/4, 1)
	}
	func() {
		for range holders {
			o := &object{}
			if kind == "cleanup" {
				runtime.AddCleanup(o, func(int) { wait() }, 1)
			} else {
				runtime.SetFinalizer(o, func(*object) { wait() })
			}
		}
	}()
	runtime.GC()
	for range holders {
		<-entered
	}
	return func() { close(gate) }
}

func cycle(dead, different int) phases {
	debug.SetGCPercent(-1)
	p := phases{}
	calls.Store(0)
	wanted.Store(-1)
	keep = make([]*object, n)
	p.timed("alloc", func() {
		for i := range keep {
			keep[i] = &object{}
		}
	})
	if kind != "none" {
		p.timed("register", func() { register(different) })
	}
	runtime.GC()
	p.timed("live", runtime.GC)
	release := func() {}
	if kind != "none" {
		release = hold()
	}
	dropped, next := int64(0), shuffled(100)
	for i := range keep {
		if next() < dead {
			keep[i] = nil
			dropped++
		}
	}
	wanted.Store(dropped)
	p.timed("discover", runtime.GC)
	if kind != "none" {
		time.Sleep(2 * time.Millisecond)
		p.timed("drain", func() { release(); <-done })
	}
	p.timed("free", runtime.GC)
	if kind != "none" && dropped < int64(n) {
		wanted.Store(int64(n))
		keep = nil
		runtime.GC()
		<-done
	}
	keep = nil
	runtime.GC()
	return p
}

// cancel registers all and takes that back, both in a random order if so said.
func cancel(random bool) phases {
	debug.SetGCPercent(-1)
	p := phases{}
	keep = make([]*object, n)
	for i := range keep {
		keep[i] = &object{}
	}
	if random {
		shuffle(keep)
	}
	if kind == "cleanup" {
		handles := make([]runtime.Cleanup, n)
		p.timed("register", func() {
			for i, o := range keep {
				handles[i] = runtime.AddCleanup(o, cleanup, i)
			}
		})
		if random {
			shuffle(handles)
		}
		p.timed("cancel", func() {
			for _, handle := range handles {
				handle.Stop()
			}
		})
		runtime.KeepAlive(keep)
	} else {
		p.timed("register", func() { register(1) })
		if random {
			shuffle(keep)
		}
		p.timed("cancel", func() {
			for _, o := range keep {
				runtime.SetFinalizer(o, nil)
			}
		})
	}
	keep = nil
	runtime.GC()
	return p
}

// closures registers all, takes that back, and registers all again for their finalizers to run.
func closures() phases {
	debug.SetGCPercent(-1)
	p := phases{}
	calls.Store(0)
	contexts = 0
	wanted.Store(int64(n))
	keep = make([]*object, n)
	for i := range keep {
		keep[i] = &object{}
	}
	p.timed("register", func() { register(1) })
	p.timed("cancel", func() {
		for _, o := range keep {
			runtime.SetFinalizer(o, nil)
		}
	})
	register(1)
	release := hold()
	clear(keep)
	p.timed("discover", runtime.GC)
	time.Sleep(2 * time.Millisecond)
	p.timed("drain", func() { release(); <-done })
	if kind == "closure" && contexts != n*(n-1)/2 {
		panic("a closure lost its context")
	}
	keep = nil
	runtime.GC()
	return p
}

// steady replaces the oldest of n objects by a new one again and again, over 25 collections of which the first five do
// not count. It says how many objects were made between two collections, and how much memory there was after each.
func steady() phases {
	debug.SetGCPercent(100)
	cycles := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	collections := func() uint64 {
		metrics.Read(cycles)
		return cycles[0].Value.Uint64()
	}
	calls.Store(0)
	wanted.Store(-1)
	ring := make([]*object, n)
	var objects, memory []float64
	last, before := collections(), 0
	for i := 0; len(objects) < 25; i++ {
		o := &object{}
		if kind != "none" {
			runtime.SetFinalizer(o, ofPointer)
		}
		ring[i%n] = o
		if i%100 != 99 {
			continue
		}
		if now := collections(); now != last {
			// More than one may have ended since.
			between := float64(now - last)
			for ; last != now; last++ {
				objects = append(objects, float64(i-before)/between)
				memory = append(memory, resident()/(1<<20))
			}
			before = i
		}
	}
	mean := func(values []float64) float64 {
		sum := 0.0
		for _, value := range values {
			sum += value
		}
		return sum / float64(len(values))
	}
	p := phases{}
	for name, values := range map[string][]float64{"objects": objects[5:25], "memory": memory[5:25]} {
		first, last := mean(values[:5]), mean(values[15:])
		p["first-"+name], p["last-"+name], p[name+"-growth"] = first, last, last/first
	}
	return p
}

// memory says by how much the process grows, with all registered and with all queued.
func memory() phases {
	debug.SetGCPercent(-1)
	p := phases{}
	calls.Store(0)
	wanted.Store(int64(n))
	keep = make([]*object, n)
	for i := range keep {
		keep[i] = &object{}
	}
	release := hold()
	runtime.GC()
	small := resident()
	register(1)
	p["memory"] = (resident() - small) / float64(n)
	clear(keep)
	runtime.GC()
	p["queued"] = (resident() - small) / float64(n)
	release()
	<-done
	return p
}

type node struct {
	left, right *node
	a, b        uint64
}

var kept *node

// grow makes a tree of so many nodes.
func grow(nodes int) *node {
	if nodes == 0 {
		return nil
	}
	below := nodes - 1
	left, right := grow(below/2), grow(below-below/2)
	return &node{left: left, right: right}
}

func tree() phases {
	debug.SetGCPercent(-1)
	p := phases{}
	p.timed("alloc", func() { kept = grow(n) })
	runtime.GC()
	p.timed("live", runtime.GC)
	kept = nil
	p.timed("free", runtime.GC)
	return p
}

func treeChurn() phases {
	debug.SetGCPercent(100)
	kept = grow(n)
	trees := (4*n + 126) / 127
	begun := time.Now()
	for range trees {
		if grow(127) == nil {
			panic("no tree")
		}
	}
	took := float64(time.Since(begun).Nanoseconds())
	runtime.KeepAlive(kept)
	kept = nil
	runtime.GC()
	return phases{"churn": took / float64(127*trees)}
}

func churn() phases {
	debug.SetGCPercent(100)
	p := phases{}
	calls.Store(0)
	wanted.Store(-1)
	ring := make([]*object, max(n/10, 1))
	steps := make([]time.Duration, 0, n/100)
	p.timed("churn", func() {
		last := time.Now()
		for i := range n {
			o := &object{}
			switch kind {
			case "pointer":
				runtime.SetFinalizer(o, ofPointer)
			case "interface":
				runtime.SetFinalizer(o, ofInterface)
			case "results":
				runtime.SetFinalizer(o, results)
			case "cleanup":
				runtime.AddCleanup(o, cleanup, i)
			}
			ring[i%len(ring)] = o
			if i%100 == 99 {
				now := time.Now()
				steps = append(steps, now.Sub(last))
				last = now
			}
		}
	})
	if kind != "none" {
		p["backlog"] = 100 * float64(int64(n-len(ring))-calls.Load()) / float64(n)
	}
	ring = nil
	for kind != "none" && calls.Load() < int64(n) {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	slices.Sort(steps)
	for name, part := range map[string]float64{"p50": .5, "p99": .99, "p999": .999, "max": 1} {
		p[name] = float64(steps[int(float64(len(steps)-1)*part)].Nanoseconds())
	}
	return p
}

func number(argument int) int {
	value, err := strconv.Atoi(os.Args[argument])
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(2)
	}
	return value
}

func main() {
	kind, n = os.Args[1], number(3)
	dead, different := number(4), number(5)
	out := json.NewEncoder(os.Stdout)
	out.Encode(map[string]string{"version": runtime.Version()})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch os.Args[2] {
		case "cycle":
			out.Encode(cycle(dead, different))
		case "cancel", "random":
			out.Encode(cancel(os.Args[2] == "random"))
		case "closures":
			out.Encode(closures())
		case "steady":
			out.Encode(steady())
		case "memory":
			out.Encode(memory())
		case "tree":
			out.Encode(tree())
		case "tree-churn":
			out.Encode(treeChurn())
		case "churn":
			out.Encode(churn())
		}
	}
}
