// A child refers to its parent: the child is finalized first, then the parent.
package main

import (
	"fmt"
	"runtime"
)

type Parent struct{ name string }
type Child struct {
	parent *Parent
	name   string
}

var log = make(chan string, 4)

func make_() {
	p := &Parent{"parent"}
	runtime.SetFinalizer(p, func(p *Parent) { log <- p.name })
	for i := range 2 {
		c := &Child{p, fmt.Sprint("child", i)}
		runtime.SetFinalizer(c, func(c *Child) { log <- "child of " + c.parent.name })
	}
}

func main() {
	make_()
	for range 3 {
		for waiting := true; waiting; {
			runtime.GC()
			select {
			case s := <-log:
				fmt.Println(s)
				waiting = false
			default:
			}
		}
	}
}
