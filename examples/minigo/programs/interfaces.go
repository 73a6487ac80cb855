// Interfaces, embedding, method values, type switches.
package main

import (
	"fmt"
	"sort"
)

type Shape interface {
	Area() float64
	Name() string
}

type Named struct{ name string }

func (n *Named) Name() string { return n.name }

type Square struct {
	*Named
	side float64
}

func (s Square) Area() float64 { return s.side * s.side }

type Circle struct {
	Named
	r float64
}

func (c *Circle) Area() float64 { return 3 * c.r * c.r }

type Temp float64

func (t Temp) String() string { return fmt.Sprintf("%.1f°", float64(t)) }

type Pair struct {
	a, b any
}

func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case int, int64:
		return fmt.Sprint("integer ", v)
	case string:
		return "text of " + fmt.Sprint(len(v))
	case fmt.Stringer:
		return "stringer " + v.String()
	case Shape:
		return "shape " + v.Name()
	case []int:
		return fmt.Sprint("slice of ", len(v))
	case error:
		return "error " + v.Error()
	case func() int:
		return fmt.Sprint("function of ", v())
	}
	return fmt.Sprintf("other %T", v)
}

func main() {
	shapes := []Shape{Square{&Named{"square"}, 2}, &Circle{Named{"circle"}, 1}}
	total := 0.0
	for _, s := range shapes {
		fmt.Println(s.Name(), s.Area())
		total += s.Area()
	}
	fmt.Println(total, Temp(36.6), []Temp{1, 2.5})
	area := shapes[0].Area
	name := shapes[1].(*Circle).Name
	fmt.Println(area(), name(), Square.Area(shapes[0].(Square)))
	for _, v := range []any{nil, 1, int64(2), "abc", Temp(3), shapes[1], []int{1, 2}, fmt.Errorf("e%d", 1), func() int { return 9 }, 2.5, struct{}{}} {
		fmt.Println(describe(v))
	}
	var s Shape
	_, ok := s.(*Circle)
	fmt.Println(s == nil, ok, shapes[1] == shapes[1], any(1) == any(1.0), Pair{1, "x"} == Pair{1, "x"})
	m := map[any]int{1: 1, "one": 2, Temp(1): 3, [2]int{1, 2}: 4}
	fmt.Println(m[1], m["one"], m[Temp(1)], m[[2]int{1, 2}], m[2])
	keys := []string{}
	for k := range map[string]bool{"b": true, "a": true, "c": false} {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println(keys)
}
