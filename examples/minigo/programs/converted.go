// Finalizers that are set, and cleared, by pointers of other types than the objects were made as.
package main

import (
	"fmt"
	"runtime"
	"sort"
)

type A struct{ n, m int }
type B A
type C struct{ n, m int }
type P *A

var never A

func (b *B) String() string { return fmt.Sprint("B ", b.n) }

func make3(done chan string) {
	for i := range 3 {
		b := (*B)(&A{i, 2})
		runtime.SetFinalizer(b, func(b *B) { done <- fmt.Sprint("b ", b.n) })
	}
	c := (*C)(&A{3, 4})
	runtime.SetFinalizer(c, func(c *C) { done <- fmt.Sprint("c ", c.m) })
	d := (*struct{ n, m int })(&A{5, 6})
	runtime.SetFinalizer(d, func(d any) { done <- fmt.Sprintf("%T", d) })
	e := (*B)(&A{7, 8})
	runtime.SetFinalizer(e, func(s fmt.Stringer) { done <- s.String() })
	f := P(&A{9, 10})
	runtime.SetFinalizer(f, func(p *A) { done <- fmt.Sprint("p ", p.n) })
	g := &A{11, 12}
	runtime.SetFinalizer((*B)(g), func(*B) { done <- "not cleared" })
	runtime.SetFinalizer((*C)(g), nil)
	runtime.SetFinalizer(g, func(a *A) { done <- fmt.Sprint("a ", a.m) })
}

func main() {
	done := make(chan string, 10)
	make3(done)
	var all []string
	for len(all) < 8 {
		runtime.GC()
		select {
		case text := <-done:
			all = append(all, text)
		default:
			runtime.Gosched()
		}
	}
	sort.Strings(all)
	for _, text := range all {
		fmt.Println(text)
	}
	// The pointer is looked at before the function, and a global never dies.
	runtime.SetFinalizer(&never, "no function")
	b := (*B)(new(A))
	runtime.SetFinalizer(b, func(*C) {})
}
