// Finalizers of the first element of a slice, and of an array.
package main

import (
	"fmt"
	"runtime"
)

type T struct{ a, b *int }

func main() {
	done := make(chan int, 3)
	func() {
		s := make([]T, 3)
		runtime.SetFinalizer(&s[0], func(*T) { done <- 1 })
		a := new([4]T)
		runtime.SetFinalizer(a, func(*[4]T) { done <- 2 })
	}()
	n := 0
	for n < 2 {
		runtime.GC()
		select {
		case <-done:
			n++
		default:
		}
	}
	fmt.Println(n)
}
