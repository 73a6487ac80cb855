// Panics, deferred calls and recover.
package main

import (
	"errors"
	"fmt"
)

type Failure struct{ code int }

func (f Failure) Error() string { return fmt.Sprintf("failure %d", f.code) }

func try(name string, f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if e, ok := r.(error); ok {
				err = e
			} else {
				err = fmt.Errorf("%s: %v", name, r)
			}
		}
	}()
	f()
	return nil
}

func deep(n int) int {
	defer func() { fmt.Println("leaving", n) }()
	if n == 0 {
		panic("bottom")
	}
	return deep(n-1) + 1
}

func replaced() (s string) {
	defer func() { s = fmt.Sprint("recovered ", recover()) }()
	defer func() { panic("second") }()
	panic("first")
}

func helper() any { return recover() }

func notDirect() {
	defer func() {
		if helper() != nil {
			fmt.Println("recovered too far down")
		}
	}()
	panic("goes on")
}

func main() {
	var m map[string]int
	var p *Failure
	s := []int{1, 2, 3}
	i, zero := 5, 0
	var v any = "text"
	fmt.Println(try("none", func() {}))
	fmt.Println(try("index", func() { _ = s[i] }))
	fmt.Println(try("slice", func() { _ = s[i:] }))
	fmt.Println(try("nil", func() { p.code = 1 }))
	fmt.Println(try("divide", func() { _ = i / zero }))
	fmt.Println(try("map", func() { m["a"] = 1 }))
	fmt.Println(try("assert", func() { _ = v.(int) }))
	fmt.Println(try("value", func() { panic(42) }))
	fmt.Println(try("error", func() { panic(Failure{7}) }))
	fmt.Println(try("deep", func() { deep(2) }))
	fmt.Println(replaced())
	fmt.Println(try("not direct", notDirect))
	base := errors.New("base")
	wrapped := fmt.Errorf("wrapped: %w", base)
	fmt.Println(wrapped, errors.Is(wrapped, base), errors.Is(base, wrapped))
	for n := range 3 {
		defer fmt.Println("deferred", n)
	}
}
