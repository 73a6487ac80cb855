// A pool that objects return to when they are dropped: each is used again after its finalizer.
package main

import (
	"fmt"
	"runtime"
	"sync"
)

type Buffer struct {
	bytes []byte
	uses  int
}

// Finalizers put buffers back while others are taken.
type Pool struct {
	mu   sync.Mutex
	free []*Buffer
	made int
}

func (p *Pool) Get() *Buffer {
	b := p.take()
	if b == nil {
		p.made++
		b = &Buffer{bytes: make([]byte, 0, 64)}
	}
	b.uses++
	runtime.SetFinalizer(b, p.put)
	return b
}

func (p *Pool) take() *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return nil
	}
	b := p.free[n-1]
	p.free[n-1] = nil
	p.free = p.free[:n-1]
	return b
}

func (p *Pool) put(b *Buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.bytes = b.bytes[:0]
	p.free = append(p.free, b)
}

func (p *Pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free)
}

// All three are in use until the last has been taken.
func use(p *Pool) {
	var held []*Buffer
	for i := range 3 {
		b := p.Get()
		b.bytes = append(b.bytes, fmt.Sprint("use ", i)...)
		if len(b.bytes) != 5 {
			panic("buffer not empty")
		}
		held = append(held, b)
	}
	runtime.KeepAlive(held)
}

func main() {
	p := &Pool{}
	for range 3 {
		use(p)
		for p.size() < 3 {
			runtime.GC()
		}
	}
	uses := 0
	for _, b := range p.free {
		uses += b.uses
	}
	fmt.Println("made", p.made, "uses", uses)
}
