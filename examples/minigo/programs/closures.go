// A closure for each object as its finalizer: each captures a variable of its own.
package main

import (
	"fmt"
	"runtime"
	"sync"
)

const N = 300

type Texture struct {
	slot int
	next *Texture
}

func main() {
	var all sync.WaitGroup
	seen := make([]int, N)
	func() {
		for slot := range N {
			t := &Texture{slot: slot}
			all.Add(1)
			runtime.SetFinalizer(t, func(t *Texture) {
				if t.slot == slot {
					seen[slot]++
				}
				all.Done()
			})
		}
	}()
	done := make(chan bool)
	go func() {
		all.Wait()
		close(done)
	}()
	for waiting := true; waiting; {
		runtime.GC()
		select {
		case <-done:
			waiting = false
		default:
		}
	}
	once := 0
	for _, n := range seen {
		if n == 1 {
			once++
		}
	}
	fmt.Println("finalized exactly once:", once, "of", N)
}
