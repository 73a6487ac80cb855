// Method expressions, calls of builtin functions that are deferred, what closures capture, imports
// with other names.
package main

import (
	"errors"
	f "fmt"
	_ "os"
	"runtime"
	str "strings"
)

type In struct{ n int }

func (i In) Val(a int, rest ...string) (int, string) { return i.n + a, str.Join(rest, "-") }
func (i *In) Ptr(a int)                              { i.n += a }

type Out struct {
	In
	*Deep
}
type Deep struct{ d int }

func (d *Deep) Set(v int) { d.d = v }
func (d Deep) Get() int   { return d.d }

type Shape interface {
	Area() float64
	Scale(by float64) Shape
}
type Sq struct{ s float64 }

func (s Sq) Area() float64          { return s.s * s.s }
func (s Sq) Scale(by float64) Shape { return Sq{s.s * by} }

var pkg = Shape.Area

func main() {
	g := In.Val
	f.Println(g(In{3}, 4, "a", "b"))
	h := (*In).Val
	f.Println(h(&In{5}, 1))
	k := (*In).Ptr
	x := In{1}
	k(&x, 10)
	f.Println(x.n)
	o := Out{In{7}, &Deep{1}}
	f.Println(Out.Val(o, 1, []string{"q", "r"}...))
	(*Out).Ptr(&o, 3)
	Out.Set(o, 99)
	f.Println(o.n, Out.Get(o), (*Out).Get(&o))
	f.Println(Shape.Area(Sq{3}), Shape.Scale(Sq{2}, 4).Area(), pkg(Sq{1.5}))
	f.Println(error.Error(errors.New("boom")))
	f.Printf("%T %T %T\n", In.Val, Shape.Area, (*Out).Ptr)
	m := map[float64]int{1: 2, 3: 4}
	s := []int{1, 2, 3}
	d := make([]int, 2)
	func() {
		defer delete(m, 1)
		defer clear(s)
		defer copy(d, s)
		defer recover()
		f.Println(len(m), s, d)
	}()
	f.Println(m, s, d)
	func() {
		defer func() { f.Println("got", recover()) }()
		defer recover()
		panic("p")
	}()
	func() {
		defer func() { f.Println("got", recover()) }()
		var sh Shape
		Shape.Area(sh)
	}()
	func() {
		defer func() { f.Println("got", recover()) }()
		q := new(struct{ a, b, c int })
		defer runtime.AddCleanup(q, func(n float64) {}, 1)
		f.Println("ok")
	}()
	var fs []func() int
	for i := 0; i < 3; i++ {
		j := i * 10
		fs = append(fs, func() int { return i + j })
	}
	for _, fn := range fs {
		f.Println(fn())
	}
	a, b := 1, "two"
	c := func() string { return f.Sprint(a, b) }
	a = 5
	f.Println(c())
	type big struct{ a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q int }
	bb := big{a: 1, q: 17}
	sm := struct{ x, y int }{1, 2}
	var e struct{}
	fn := func() (int, int, int, any) { return bb.a + bb.q, sm.x, sm.y, e }
	f.Println(fn())
	func(p int, q string) {
		func() {
			func() { f.Println(p, q, sm) }()
		}()
	}(4, "z")
	r := named()
	f.Println(r)
}

func named() (n int) {
	defer func() { n *= 2 }()
	return 21
}
