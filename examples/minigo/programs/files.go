// Files that are closed by a finalizer when nothing refers to them.
package main

import (
	"fmt"
	"runtime"
)

type File struct {
	fd   int
	name string
}

var closed = make(chan int, 10)

func open(fd int, name string) *File {
	f := &File{fd: fd, name: name}
	runtime.SetFinalizer(f, func(f *File) {
		closed <- f.fd
	})
	return f
}

func use() *File {
	kept := open(3, "kept")
	for fd := 4; fd < 8; fd++ {
		f := open(fd, fmt.Sprint("file", fd))
		if len(f.name) == 0 {
			panic("no name")
		}
	}
	return kept
}

func main() {
	kept := use()
	sum := 0
	for range 4 {
		for waiting := true; waiting; {
			select {
			case fd := <-closed:
				sum += fd
				waiting = false
			default:
				runtime.GC()
			}
		}
	}
	fmt.Println("closed", sum)
	fmt.Println("kept", kept.fd, kept.name)
	runtime.KeepAlive(kept)
}
