// What fmt prints: verbs, flags, methods, mistakes, and where it can print to.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

type Day int

func (d Day) String() string { return [...]string{"Mon", "Tue"}[d] }

type inner struct {
	d Day
	D Day
	p *int
	m map[string]int
	i any
	e error
}
type E struct{ code int }

func (e *E) Error() string { return fmt.Sprintf("E%d", e.code) }

type Name string
type Bad struct{}

func (b *Bad) String() string { panic("no") }

type Nil struct{ x int }

func (n *Nil) String() string { return fmt.Sprint(n.x) }

func main() {
	fmt.Printf("%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%O|%b|%c|%q|%U\n", 42, 42, 42, -42, 42, 42, 255, 255, 255, 8, 8, 8, 5, 'x', 'y', 0x1F600)
	fmt.Printf("%s|%q|%10s|%-12s|%.2s|%x|%X|%v|%08s\n", "hi", "q\"\n\x01é", "right", "left", "cut", "hex", "HEX", "v", "pad")
	fmt.Printf("%f|%.2f|%8.3f|%-8.1f|%e|%g|%g|%v|%+.1f|%08.2f|%6v\n", 3.14159, 3.14159, 3.14159, 2.5, 12345.678, 1e21, 1e-7, 0.1, 1.0, -3.14159, 1.5)
	fmt.Printf("%t|%v|%5t|%T|%T|%T|%T\n", true, false, true, 1, "s", []int{1}, map[string]Day{})
	fmt.Printf("%v|%+v|%d|%s|%x\n", []int{1, 2}, []Day{0, 1}, []Day{0, 1}, []string{"a", "b"}, []byte("hey"))
	x := 3
	in := inner{1, 1, nil, map[string]int{"z": 1, "a": 2}, Day(1), nil}
	fmt.Printf("%v|%+v\n", in, in)
	fmt.Printf("%v|%+v|%v\n", &in, &struct{ A, b int }{1, 2}, struct{}{})
	fmt.Println(in, &in, []any{1, "a", nil, 2.5, Day(0), &E{1}}, [2]bool{true, false})
	fmt.Println(&x != nil, []byte("hi"), Name("n"), []Name{"a"}, map[Day]string{1: "t", 0: "m"}, map[float64]bool{2.5: true, -1: false})
	fmt.Printf("%d|%s|%v|%q\n", Day(1), Day(1), Day(1), Day(1))
	fmt.Printf("%s|%v|%d\n", &E{3}, errors.New("plain"), &E{3})
	fmt.Printf("%d %s\n", "str", 5)
	fmt.Printf("%z|%!|%d\n", 1, 2)
	fmt.Printf("%d %d\n", 1)
	fmt.Printf("%d\n", 1, "extra", nil)
	fmt.Printf("100%%|%v|%s|%d|%T\n", nil, nil, nil, nil)
	fmt.Printf("%v %s\n", &Bad{}, &Bad{})
	var n *Nil
	fmt.Printf("%v %s\n", n, n)
	var np *int
	var e error
	var f func()
	var ch chan int
	var m map[string]int
	var s []int
	fmt.Println(np, e, f == nil, ch, m, s)
	fmt.Printf("%v %v %+v %v %d\n", np, e, m, s, s)
	fmt.Printf("%*d|%-*d|%.*f\n", 5, 1, 5, 2, 2, 3.14159)
	fmt.Printf("%5v|%-5v|%05d|%5v\n", []int{1, 2}, []string{"a"}, []int{3}, true)
	fmt.Printf("%x|%X|% x\n", -255, "ab", "a")
	fmt.Printf("%6.2f%%|%+v|%v\n", 99.5, Name("x"), float32(0.1))
	fmt.Printf("%v %v %v %v\n", int8(-5), uint8(200), int64(-1<<63), uint64(1<<64-1))
	fmt.Printf("%c%c|%q|%#v|%#v\n", 0x4e16, 'A', []string{"a b", "c"}, "q", 5)
	fmt.Printf("%.3g|%.10g|%g|%g|%g|%.0f|%.1e\n", 1234.5678, 1234.5678, 100000.0, 1000000.0, 0.0001, 2.5, 1e10)
	fmt.Print("a", 1, 2, "b", "c", 3.5, nil, nil, '\n', "\n")
	fmt.Print(1, 2, "\n")
	fmt.Fprintln(os.Stdout, "out", 1)
	fmt.Fprintf(os.Stdout, "%s-%d\n", "f", 2)
	fmt.Fprint(os.Stdout, "p", 3, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "<%03d>", 7)
	fmt.Fprint(&b, "x", 1)
	fmt.Println(b.String(), b.Len())
	cause := &E{4}
	w := fmt.Errorf("wrap %d: %w", 1, cause)
	fmt.Println(w, errors.Unwrap(w) == error(cause), errors.Is(w, cause))
	fmt.Printf("%v|%s|%q\n", w, w, w)
	k, err := fmt.Println("counted")
	fmt.Println(k, err)
	fmt.Printf("%t %d\n", 1, true)
	fmt.Printf("%s\n", []any{1, "x"})
	fmt.Printf("%v %v\n", [3]byte{1, 2, 3}, struct {
		X *int
		Y []string
	}{nil, []string{"q"}})
	fmt.Printf("%s %x\n", [3]byte{65, 66, 67}, [2]byte{1, 255})
	fmt.Printf("%-8q|%8q\n", "a", "b")
	fmt.Printf("%3c|%-3c|\n", 'a', 'b')
}
