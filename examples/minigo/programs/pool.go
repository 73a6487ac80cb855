// A pool that objects return to when they are dropped: each is used again after its finalizer.
package main

import (
	"fmt"
	"runtime"
)

type Buffer struct {
	bytes []byte
	uses  int
}

type Pool struct {
	free []*Buffer
	made int
}

func (p *Pool) Get() *Buffer {
	var b *Buffer
	if n := len(p.free); n > 0 {
		b = p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
	} else {
		p.made++
		b = &Buffer{bytes: make([]byte, 0, 64)}
	}
	b.uses++
	runtime.SetFinalizer(b, func(b *Buffer) {
		b.bytes = b.bytes[:0]
		p.free = append(p.free, b)
	})
	return b
}

func use(p *Pool) {
	for i := range 3 {
		b := p.Get()
		b.bytes = append(b.bytes, fmt.Sprint("use ", i)...)
		if len(b.bytes) != 5 {
			panic("buffer not empty")
		}
	}
}

func main() {
	p := &Pool{}
	for range 3 {
		use(p)
		for len(p.free) < 3 {
			runtime.GC()
		}
	}
	uses := 0
	for _, b := range p.free {
		uses += b.uses
	}
	fmt.Println("made", p.made, "uses", uses)
}
