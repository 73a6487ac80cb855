// Go: runtime.SetFinalizer and runtime.AddCleanup. See ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
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
	case "cleanup":
		for i, o := range keep {
			runtime.AddCleanup(o, cleanup, i)
		}
	}
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

func cancel() phases {
	debug.SetGCPercent(-1)
	p := phases{}
	keep = make([]*object, n)
	for i := range keep {
		keep[i] = &object{}
	}
	if kind == "cleanup" {
		handles := make([]runtime.Cleanup, n)
		for i, o := range keep {
			handles[i] = runtime.AddCleanup(o, cleanup, i)
		}
		p.timed("cancel", func() {
			for _, handle := range handles {
				handle.Stop()
			}
		})
	} else {
		register(1)
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
		case "cancel":
			out.Encode(cancel())
		case "churn":
			out.Encode(churn())
		}
	}
}
