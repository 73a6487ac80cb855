// Finalizers that allocate, register others and print.
package main

import (
	"fmt"
	"runtime"
	"strings"
)

type Tree struct {
	left, right *Tree
	depth       int
}

func grow(depth int) *Tree {
	if depth == 0 {
		return &Tree{}
	}
	return &Tree{grow(depth - 1), grow(depth - 1), depth}
}

func (t *Tree) count() int {
	if t == nil {
		return 0
	}
	return 1 + t.left.count() + t.right.count()
}

var results = make(chan string, 2)

func plant(depth int) {
	t := grow(depth)
	runtime.SetFinalizer(t, func(t *Tree) {
		parts := []string{}
		for i := range 3 {
			parts = append(parts, fmt.Sprint(grow(i).count()))
		}
		results <- strings.Join(parts, "+") + " " + fmt.Sprint(t.count())
		if t.depth > 1 {
			plant(t.depth - 1)
		}
	})
}

func main() {
	plant(4)
	for range 4 {
		for waiting := true; waiting; {
			runtime.GC()
			select {
			case s := <-results:
				fmt.Println(s)
				waiting = false
			default:
			}
		}
	}
}
