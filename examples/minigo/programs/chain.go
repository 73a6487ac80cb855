// A chain: of objects with finalizers that refer to each other, one is finalized a collection.
package main

import (
	"fmt"
	"runtime"
)

type Link struct {
	number int
	next   *Link
}

var done = make(chan int, 1)

func build(n int) {
	var first *Link
	for i := n; i > 0; i-- {
		first = &Link{i, first}
		runtime.SetFinalizer(first, func(l *Link) {
			next := 0
			if l.next != nil {
				next = l.next.number
			}
			fmt.Println("finalized", l.number, "before", next)
			done <- l.number
		})
	}
}

func main() {
	build(5)
	for range 5 {
		for waiting := true; waiting; {
			runtime.GC()
			select {
			case <-done:
				waiting = false
			default:
			}
		}
	}
	fmt.Println("end")
}
