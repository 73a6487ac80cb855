// A cache whose entries are weak: it gives what is alive, and forgets what is not.
package main

import (
	"fmt"
	"runtime"
	"weak"
)

type Blob struct {
	key  string
	data [8]int
}

type Cache struct {
	entries map[string]weak.Pointer[Blob]
	made    int
}

func (c *Cache) Get(key string) *Blob {
	if w, ok := c.entries[key]; ok {
		if b := w.Value(); b != nil {
			return b
		}
	}
	c.made++
	b := &Blob{key: key}
	b.data[3] = len(key)
	c.entries[key] = weak.Make(b)
	return b
}

func fill(c *Cache) *Blob {
	a := c.Get("alpha")
	if c.Get("alpha") != a {
		panic("the cache forgot what is alive")
	}
	c.Get("beta")
	runtime.KeepAlive(a)
	return c.Get("gamma")
}

func main() {
	c := &Cache{entries: map[string]weak.Pointer[Blob]{}}
	g := fill(c)
	for i := 0; i < 100 && c.entries["alpha"].Value() != nil; i++ {
		runtime.GC()
	}
	fmt.Println("alpha is gone:", c.entries["alpha"].Value() == nil)
	fmt.Println("gamma is there:", c.Get("gamma") == g, g.data[3])
	fmt.Println("equal:", weak.Make(g) == c.entries["gamma"])
	before := c.made
	c.Get("alpha")
	fmt.Println("made again:", c.made-before)
	var none weak.Pointer[Blob]
	fmt.Println("nil:", none.Value() == nil)
	runtime.KeepAlive(g)
}
