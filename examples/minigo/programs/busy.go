// A program that only makes objects, and never waits: finalizers run meanwhile.
package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

type File struct {
	number int
	data   [100]int
}

func main() {
	var closed atomic.Int64
	made := 0
	for closed.Load() == 0 {
		made++
		f := &File{number: made}
		runtime.SetFinalizer(f, func(f *File) {
			if f.number <= 0 {
				panic("no such file")
			}
			closed.Add(1)
		})
	}
	fmt.Println("closed while others were made")
}
