// Finalizers of elements behind the first one, which small elements without pointers may have. They
// run when no element can be reached.
package main

import (
	"fmt"
	"runtime"
)

type pair struct{ a, b int32 }

func main() {
	done := make(chan string, 3)
	func() {
		bytes := make([]byte, 100)
		runtime.SetFinalizer(&bytes[7], func(*byte) { done <- "byte" })
		ints := make([]int, 10)
		runtime.SetFinalizer(&ints[9], func(*int) { done <- "int" })
		pairs := make([]pair, 10)
		runtime.SetFinalizer(&pairs[2], func(*pair) { done <- "pair" })
		fmt.Println(len(bytes), len(ints), len(pairs))
	}()
	found := map[string]int{}
	for len(found) < 3 {
		runtime.GC()
		select {
		case name := <-done:
			found[name]++
		default:
		}
	}
	fmt.Println(found)
}
