// No collection but those that the program asks for.
package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type Node struct {
	next *Node
	data [1000]int
}

func main() {
	fmt.Println("before", debug.SetGCPercent(-1))
	finalized := make(chan bool, 1)
	node := &Node{}
	runtime.SetFinalizer(node, func(*Node) { finalized <- true })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 2000 {
		node = &Node{}
	}
	runtime.ReadMemStats(&after)
	fmt.Println("collections", after.NumGC-before.NumGC, len(finalized))
	runtime.GC()
	fmt.Println("finalized", <-finalized)
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	fmt.Println("asked for", after.NumGC-before.NumGC >= 2)
	fmt.Println("back", debug.SetGCPercent(100), debug.SetGCPercent(50), debug.SetGCPercent(100))
	for range 4000 {
		node = &Node{next: node}
		node.next.next = nil
	}
	var last runtime.MemStats
	runtime.ReadMemStats(&last)
	fmt.Println("by themselves", last.NumGC > after.NumGC)
}
