// Finalizers whose parameter is an interface, a method as a finalizer, and clearing one.
package main

import (
	"fmt"
	"runtime"
)

type Closer interface{ Close() string }

type File struct {
	n    int
	next *File
}

func (f *File) Close() string { return fmt.Sprint("file ", f.n) }

type Socket struct {
	n    int
	next *Socket
}

func (s *Socket) Close() string { return fmt.Sprint("socket ", s.n) }

type Manager struct{ out chan string }

func (m *Manager) drop(f *File) { m.out <- "managed " + f.Close() }

func main() {
	out := make(chan string, 8)
	m := &Manager{out}
	want := 0
	expect := map[string]bool{}
	func() {
		runtime.SetFinalizer(&File{n: 1}, func(c Closer) { out <- c.Close() })
		runtime.SetFinalizer(&Socket{n: 2}, func(c Closer) { out <- c.Close() })
		runtime.SetFinalizer(&File{n: 3}, func(v any) { out <- fmt.Sprintf("%T", v) })
		runtime.SetFinalizer(&File{n: 4}, m.drop)
		cleared := &File{n: 5}
		runtime.SetFinalizer(cleared, func(f *File) { out <- "cleared" })
		runtime.SetFinalizer(cleared, nil)
		want = 4
	}()
	for len(expect) < want {
		runtime.GC()
		select {
		case s := <-out:
			expect[s] = true
		default:
		}
	}
	for range 3 {
		runtime.GC()
	}
	fmt.Println(expect, len(out))
}
