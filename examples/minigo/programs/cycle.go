// A cycle of objects with finalizers is never finalized; one that is reached from outside the
// cycle is not affected.
package main

import (
	"fmt"
	"runtime"
)

type Node struct {
	name  string
	other *Node
}

var finalized = make(chan string, 10)

func build() {
	a := &Node{name: "a"}
	b := &Node{name: "b", other: a}
	a.other = b
	free := &Node{name: "free"}
	for _, n := range []*Node{a, b, free} {
		runtime.SetFinalizer(n, func(n *Node) { finalized <- n.name })
	}
}

func main() {
	build()
	var name string
	for name == "" {
		runtime.GC()
		select {
		case name = <-finalized:
		default:
		}
	}
	for range 5 {
		runtime.GC()
	}
	fmt.Println(name, len(finalized))
}
