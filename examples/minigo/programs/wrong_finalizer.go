// A finalizer that does not take the object ends the program.
package main

import (
	"fmt"
	"runtime"
)

type T struct{ n int }
type U struct{ n int }

func main() {
	fmt.Println("before")
	runtime.SetFinalizer(&T{}, func(u *U) {})
	fmt.Println("after")
}
