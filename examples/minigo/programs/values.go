// Numbers, text, slices, arrays, structs, constants.
package main

import (
	"fmt"
	"strings"
)

type Point struct{ X, Y int }

type Grid [3][3]int

const (
	A = iota * 10
	B
	C
	_
	E
)

type Day int

const (
	Monday Day = iota
	Tuesday
)

func (d Day) String() string { return [...]string{"Mon", "Tue"}[d] }

func divmod(a, b int) (q, r int) {
	q = a / b
	r = a % b
	return
}

func variadic(prefix string, n ...int) string {
	return fmt.Sprint(prefix, len(n), n)
}

func main() {
	var i8 int8 = 127
	i8++
	var u8 uint8 = 0
	u8--
	var u32 uint32 = 1 << 31
	fmt.Println(i8, u8, u32<<1, -7/2, -7%2, 7&^5, 1<<3|1, ^0)
	x := 10
	x <<= 2
	x ^= 3
	fmt.Println(x, x>>1, uint8(300&0xff), int8(-128)/int8(x-x-1))
	f := 1.0 / 3
	fmt.Println(f, float32(f), 1e21, 1e20, 2.5e-7, 100.0)
	fmt.Println(divmod(17, 5))
	fmt.Println(A, B, C, E, Tuesday, []Day{Monday, Tuesday})
	s := "héllo, 世界"
	for i, r := range s {
		if r > 127 {
			fmt.Print(i, ":", string(r), " ")
		}
	}
	fmt.Println(len(s), len([]rune(s)), s[1], s[7:], strings.ToUpper("abc")+strings.Repeat("-", 3))
	b := []byte("bytes")
	b[0] = 'B'
	fmt.Println(string(b), b[:2], string([]rune{19990, 65}))
	a := []int{1, 2, 3, 4, 5}
	c := a[1:3]
	c = append(c, 99)
	fmt.Println(a, c, len(c), cap(c), a[len(a):], cap(a[2:3:4]))
	d := make([]int, 2, 10)
	n := copy(d, a)
	d = append(d, a...)
	fmt.Println(d, n, len(d), min(3, 1, 2), max(2.5, 1))
	var g Grid
	g[1][2] = 5
	h := g
	h[0][0] = 1
	fmt.Println(g, h, g == h, len(g))
	p := Point{1, 2}
	q := &p
	q.X = 7
	ps := []Point{{1, 2}, {X: 3}}
	ps[1].Y++
	m := map[string]*Point{"a": {5, 6}}
	m["a"].X++
	fmt.Println(p, *q, ps, *m["a"], p == Point{7, 2})
	fmt.Printf("%v %+v %d %5d|%-5d|%05d %x %q %s %t %c %8.3f %T %T\n", p, p, 42, 42, 42, 42, 255, "q", "s", true, 'x', 3.14159, p, ps)
	fmt.Println(variadic("n"), variadic("n", 1, 2), variadic("n", a...))
	anonymous := struct {
		name string
		tags []string
	}{"n", []string{"t"}}
	fmt.Println(anonymous, len(anonymous.tags))
	funcs := []func() int{}
	for i := 0; i < 3; i++ {
		funcs = append(funcs, func() int { i *= 2; return i })
	}
	for _, f := range funcs {
		fmt.Print(f(), f(), " ")
	}
	fmt.Println()
outer:
	for i := range 5 {
		for j := range 5 {
			if j == 3 {
				continue outer
			}
			if i == 2 {
				break outer
			}
			fmt.Print(i*j, " ")
		}
	}
	fmt.Println()
	switch {
	case x > 1000:
		fmt.Println("large")
	case x > 10:
		fmt.Println("middle")
		fallthrough
	case x > 1:
		fmt.Println("falls")
	default:
		fmt.Println("small")
	}
	big := map[int]string{}
	for i := range 100 {
		big[i*i] = fmt.Sprint(i)
	}
	for i := range 50 {
		delete(big, i*i)
	}
	_, there := big[49*49]
	fmt.Println(len(big), big[99*99], there, map[string]int{"z": 1, "a": 2})
}
