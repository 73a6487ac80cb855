// SetFinalizer of what is no pointer ends the program.
package main

import (
	"fmt"
	"runtime"
)

type T struct{ a, b int }

func main() {
	fmt.Println("before")
	runtime.SetFinalizer(T{1, 2}, func(*T) {})
	fmt.Println("after")
}
