// The seed's test of finalizers by the register ABI: minigo runs it for every --int-regs.
package main

import (
	"fmt"
	"runtime"
)

type Tint int

type Tinter interface{ m() }

// TintPointer has a pointer, so that no object of it shares a block with others.
type TintPointer struct{ p *Tint }

func (*TintPointer) m() {}

var confirm = make(chan int, 1)

func regFinalizerPointer(v *TintPointer) (int, float32, [10]byte) {
	confirm <- *(*int)(v.p)
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

func regFinalizerIface(v Tinter) (int, float32, [10]byte) {
	confirm <- *(*int)(v.(*TintPointer).p)
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

func regFinalizerAny(v any) (int, float32, [10]byte) {
	confirm <- *(*int)(v.(*TintPointer).p)
	return 5151, 4.0, [10]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
}

func set(value int, finalizer any) {
	x := &TintPointer{p: new(Tint)}
	*x.p = Tint(value)
	runtime.SetFinalizer(x, finalizer)
	runtime.KeepAlive(x)
}

func main() {
	// Clear latent finalizers, and have the finalizers' goroutine run.
	runtime.GC()
	runtime.GC()
	runtime.SetFinalizer(new(TintPointer), func(_ *TintPointer) {})

	captured := 40
	tests := []struct {
		name         string
		fin          any
		confirmValue int
	}{
		{"Pointer", regFinalizerPointer, -1},
		{"Interface", regFinalizerIface, -2},
		{"Any", regFinalizerAny, -3},
		{"Closure", func(v *TintPointer) (string, [3]float64, any) {
			confirm <- int(*v.p) - captured
			return "text", [3]float64{1, 2, 3}, v
		}, -44},
	}
	for i := range tests {
		test := &tests[i]
		value := test.confirmValue
		if test.name == "Closure" {
			value += captured
		}
		set(value, test.fin)
		got := 0
		for waiting := true; waiting; {
			runtime.GC()
			select {
			case got = <-confirm:
				waiting = false
			default:
			}
		}
		if got != test.confirmValue {
			panic(fmt.Sprintf("wrong finalizer executed? got %d, want %d", got, test.confirmValue))
		}
		fmt.Println(test.name, got)
	}

	func() {
		x := &TintPointer{p: new(Tint)}
		runtime.AddCleanup(x, func(n int) { confirm <- n }, 7)
	}()
	for waiting := true; waiting; {
		runtime.GC()
		select {
		case got := <-confirm:
			fmt.Println("Cleanup", got)
			waiting = false
		default:
		}
	}
}
