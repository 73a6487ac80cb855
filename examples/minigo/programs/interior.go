// SetFinalizer of a pointer into an object ends the program.
package main

import (
	"fmt"
	"runtime"
)

type T struct{ a, b *int }

func main() {
	t := &T{}
	n := 1
	t.a = &n
	fmt.Println("before", *t.a)
	runtime.SetFinalizer(&t.b, func(p **int) {})
	fmt.Println("after")
}
