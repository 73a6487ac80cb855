// The order in which operands are evaluated and assignments are made, and what panics say.
package main

import "fmt"

type T struct{ a, b int }

type pair struct {
	n int
	v any
}

type hidden interface{ Missing() }

var trace string

func at(name string, n int) int { trace += name + " "; return n }

func slice(name string, s []int) []int { trace += name + " "; return s }

func table(name string, m map[int]int) map[int]int { trace += name + " "; return m }

func pointer(name string, p *T) *T { trace += name + " "; return p }

// try runs a function, and shows what it evaluated and why it ended.
func try(name string, f func()) {
	defer func() {
		fmt.Println(name, "["+trace+"]", recover())
		trace = ""
	}()
	f()
}

func named() (n int) {
	defer func() { n *= 2 }()
	n = 3
	return n + 1
}

func two() (int, string) { return 1, "x" }

func main() {
	s := []int{1, 2, 3, 4}
	try("index", func() { slice("s", s)[at("i", 9)] = at("v", 1) })
	try("nil map", func() { table("m", nil)[at("k", 9)] = at("v", 1) })
	try("nil pointer", func() { pointer("p", nil).b = at("v", 1) })
	try("several", func() { s[0], s[at("i", 9)], s[1] = 100, at("v", 2), 200 })
	try("op", func() { slice("s", s)[at("i", 9)] += at("v", 1) })
	try("step", func() { pointer("p", nil).a++ })
	try("array", func() { var a *[4]int; a[1] = at("v", 2) })
	fmt.Println(s)

	i := 0
	i, s[i] = 2, 9
	s[i], i = 7, 1
	s[0], s[1], s[2] = s[1], s[2], s[0]
	t := &T{1, 2}
	u := t
	t, t.a = &T{5, 6}, 77
	fmt.Println(i, s, *t, *u)
	var places [3]int
	k := 0
	for k, places[k] = range []int{7, 8, 9} {
	}
	var small int8
	for small = range 3 {
	}
	fmt.Println(k, places, small, named())
	fmt.Println(pair{1, []int{}} == pair{2, []int{}}, pair{1, "x"} == pair{1, "x"})
	try("pair", func() { fmt.Println(pair{1, []int{}} == pair{1, []int{}}) })
	try("late", func() {
		var f func()
		defer f()
		at("reached", 0)
	})

	switch s {
	case nil:
		fmt.Println("nil")
	default:
		defer println("deferred last", float32(2.5))
	}

	one, three, nine, minus := 1, 3, 9, -3
	large := uint64(1 << 63)
	text, array := "abc", [3]int{}
	try("a", func() { _ = s[nine] })
	try("b", func() { _ = s[minus] })
	try("c", func() { _ = s[large] })
	try("d", func() { _ = s[three:one] })
	try("e", func() { _ = s[:nine] })
	try("f", func() { _ = s[three:one:4] })
	try("g", func() { _ = s[:three:one] })
	try("h", func() { _ = s[:one:nine] })
	try("i", func() { _ = s[minus:one:4] })
	try("j", func() { _ = s[:minus:4] })
	try("k", func() { _ = s[large:] })
	try("l", func() { _ = array[:nine] })
	try("m", func() { _ = array[:one:nine] })
	try("n", func() { _ = text[nine:] })
	try("o", func() { _ = text[large] })
	try("p", func() { _ = make([]int, minus) })
	try("q", func() { _ = make([]int, one, minus) })
	try("r", func() { _ = make([]int, nine, one) })
	try("t", func() { var v any = T{}; _ = v.(hidden) })
	try("u", func() { one <<= minus })

outer:
	for i := range 3 {
		switch {
		case i == 1:
			continue outer
		case i == 2:
			break outer
		}
		n, x := two()
		fmt.Println(i, n, x)
	}
	println(float32(0.1), 1e100, -0.0, uint8(200), T{1, 2} == T{1, 2}, 'a', "end")
	panic(T.sum(T{1, 2}))
}

func (t T) sum() int { return t.a + t.b }
