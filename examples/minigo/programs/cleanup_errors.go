// AddCleanup's errors: arguments and functions that keep the object.
package main

import (
	"fmt"
	"runtime"
)

type T struct {
	a, b int
	next *T
}

func (t *T) close(int) {}

var global T

func try(name string, f func()) {
	defer func() { fmt.Println(name+":", recover()) }()
	f()
}

func main() {
	try("captured", func() {
		p := new(T)
		runtime.AddCleanup(p, func(int) { fmt.Println(p.a) }, 0)
	})
	try("captured within a struct", func() {
		p := struct{ t *T }{new(T)}
		runtime.AddCleanup(p.t, func(int) { fmt.Println(p.t.a) }, 0)
	})
	try("captured as an interface", func() {
		p := new(T)
		var i any = p
		runtime.AddCleanup(p, func(int) { fmt.Println(i) }, 0)
	})
	try("captured interior", func() {
		p := new(T)
		q := &p.b
		runtime.AddCleanup(p, func(int) { fmt.Println(*q) }, 0)
	})
	try("behind something captured", func() {
		p := &T{next: new(T)}
		runtime.AddCleanup(p.next, func(int) { fmt.Println(p.next) }, 0)
	})
	try("method value", func() {
		p := new(T)
		runtime.AddCleanup(p, p.close, 0)
	})
	try("equal", func() {
		p := new(T)
		runtime.AddCleanup(p, func(*T) {}, p)
	})
	try("within", func() {
		p := new(T)
		runtime.AddCleanup(p, func(*int) {}, &p.b)
	})
	try("interior and start", func() {
		p := new(T)
		runtime.AddCleanup(&p.b, func(*T) {}, p)
	})
	try("in a struct", func() {
		p := new(T)
		runtime.AddCleanup(p, func(struct{ t *T }) {}, struct{ t *T }{p})
	})
	try("without pointers", func() {
		p := new([2]int)
		runtime.AddCleanup(p, func(*int) {}, &p[1])
	})
	try("nil", func() { runtime.AddCleanup((*T)(nil), func(*T) {}, nil) })
	try("global", func() { runtime.AddCleanup(&global, func(int) {}, 1).Stop() })
	try("global, equal", func() { runtime.AddCleanup(&global, func(*T) {}, &global) })
	try("stopped twice", func() {
		p := new(T)
		added := runtime.AddCleanup(p, func(int) { panic("it was stopped") }, 1)
		added.Stop()
		added.Stop()
		runtime.Cleanup{}.Stop()
		runtime.KeepAlive(p)
	})
	runtime.GC()
}
