// Tests as `go test` runs them, some of which fail; minigo --test runs them too.
package list

import (
	"fmt"
	"runtime"
	"testing"
	"weak"
)

type List struct {
	value int
	next  *List
}

func (l *List) Len() int {
	n := 0
	for ; l != nil; l = l.next {
		n++
	}
	return n
}

func TestLen(t *testing.T) {
	var list *List
	for i := range 5 {
		if list.Len() != i {
			t.Fatalf("length %d, wanted %d", list.Len(), i)
		}
		list = &List{i, list}
	}
	t.Log("not shown, as the test has not failed")
}

func TestWrong(t *testing.T) {
	t.Errorf("length %d, wanted %d", (&List{}).Len(), 2)
	t.Error("and", "more")
	t.Log("two\nlines")
}

func TestFatal(t *testing.T) {
	defer fmt.Println("deferred")
	t.Cleanup(func() { fmt.Println("cleaned up") })
	t.Fatal("ends here")
	t.Error("not reached")
}

func check(t *testing.T, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, wanted %d", t.Name(), got, want)
	}
}

func TestTable(t *testing.T) {
	for _, c := range []struct {
		name string
		list *List
		want int
	}{
		{"nil", nil, 0},
		{"one node", &List{}, 2},
		{"two", &List{next: &List{}}, 2},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			check(t, c.list.Len(), c.want)
		})
		if ok == t.Failed() && c.name == "nil" {
			t.Error("a test of a test")
		}
	}
	t.Run("skipped", func(t *testing.T) {
		t.Skip("not now")
	})
	t.Run("outer", func(t *testing.T) {
		t.Run("inner", func(t *testing.T) { t.Error("deep") })
		t.Log("said outside")
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "", "same", "same", "same#01", "a b\t\x01é"} {
		t.Run(name, func(t *testing.T) { fmt.Println(t.Name()) })
	}
}

func TestOrder(t *testing.T) {
	defer fmt.Println("the function ends")
	t.Cleanup(func() {
		t.Cleanup(func() { fmt.Println("added by a cleanup") })
		fmt.Println("cleanup of the test")
		t.Error("in a cleanup")
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		t.Error("a parallel one")
	})
	fmt.Println("after the parallel one has begun")
}

func Testament() { fmt.Println("no test") }

func TestSkip(t *testing.T) {
	t.Skip("nothing to do")
}

func TestWeak(t *testing.T) {
	pointer := weak.Make(&List{value: 1})
	runtime.GC()
	if pointer.Value() != nil {
		t.Fatal("still there")
	}
}
