// Cleanups: several for one object, one of which is stopped; they don't see the object.
package main

import (
	"fmt"
	"runtime"
	"sort"
)

type Conn struct {
	id   int
	peer *Conn
}

func main() {
	done := make(chan string, 8)
	func() {
		c := &Conn{id: 7}
		runtime.AddCleanup(c, func(s string) { done <- s }, "first")
		stopped := runtime.AddCleanup(c, func(s string) { done <- s }, "stopped")
		runtime.AddCleanup(c, func(id int) { done <- fmt.Sprint("id ", id) }, c.id)
		stopped.Stop()
		runtime.SetFinalizer(c, func(c *Conn) { done <- "finalizer" })
	}()
	got := []string{}
	for len(got) < 3 {
		runtime.GC()
		select {
		case s := <-done:
			got = append(got, s)
		default:
		}
	}
	fmt.Println("before the rest:", got[0])
	sort.Strings(got)
	for _, s := range got {
		fmt.Println(s)
	}
	for range 3 {
		runtime.GC()
	}
	fmt.Println("left:", len(done))
}
