package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// T has methods on its pointer; Plain has none. Small and Large are fields without pointers below and at 16 bytes.
type (
	T struct {
		Next  *T
		Byte  byte
		Small [15]byte
		Large [16]byte
		Words [2]uint64
	}
	Plain   struct{ P *int }
	NamedT  *T
	NamedP  *Plain
	OtherP  *Plain
	Method  interface{ M() }
	Missing interface{ N() }
	Empty   struct{}
)

func (*T) M() {}

var (
	sink   []any
	global T
)

func escape[P any](p *P) *P {
	sink = append(sink, p)
	return p
}

func newT() *T         { return escape(new(T)) }
func newPlain() *Plain { return escape(new(Plain)) }

// refusals are calls of the runtime, by the name they have in tests/refusals.rs.
var refusals = map[string]func(){
	"nil interface":       func() { runtime.SetFinalizer(nil, func(*T) {}) },
	"number":              func() { runtime.SetFinalizer(5, func(*T) {}) },
	"unsafe pointer":      func() { runtime.SetFinalizer(unsafe.Pointer(newT()), func(*T) {}) },
	"slice":               func() { runtime.SetFinalizer([]int{1}, func([]int) {}) },
	"function":            func() { runtime.SetFinalizer(func(int, ...string) error { return nil }, func(*T) {}) },
	"nil pointer":         func() { runtime.SetFinalizer((*T)(nil), func(*T) {}) },
	"nil pointer cleared": func() { runtime.SetFinalizer((*T)(nil), nil) },
	"foreign memory":      func() { runtime.SetFinalizer((*T)(foreign()), func(*T) {}) },
	"pointer field": func() {
		p := &newT().Words
		runtime.SetFinalizer((*struct{ A, B *T })(unsafe.Pointer(p)), func(any) {})
	},
	"byte field":            func() { runtime.SetFinalizer(&newT().Byte, func(*byte) {}) },
	"15 byte field":         func() { runtime.SetFinalizer(&newT().Small, func(*[15]byte) {}) },
	"16 byte field":         func() { runtime.SetFinalizer(&newT().Large, func(*[16]byte) {}) },
	"16 byte field cleared": func() { runtime.SetFinalizer(&newT().Large, nil) },
	"interior before func":  func() { runtime.SetFinalizer(&newT().Large, func() {}) },
	"variadic":              func() { runtime.SetFinalizer(newT(), func(*T, ...int) {}) },
	"variadic only":         func() { runtime.SetFinalizer(newT(), func(...*T) {}) },
	"no parameter":          func() { runtime.SetFinalizer(newT(), func() {}) },
	"two parameters":        func() { runtime.SetFinalizer(newT(), func(*T, int) {}) },
	"results": func() {
		runtime.SetFinalizer(newT(), func(any, func(map[string]chan<- int) error) (int, [2]any) { return 0, [2]any{} })
	},
	"other pointer":      func() { runtime.SetFinalizer(newT(), func(*int) {}) },
	"not a pointer":      func() { runtime.SetFinalizer(newT(), func(T) {}) },
	"unsafe parameter":   func() { runtime.SetFinalizer(newT(), func(unsafe.Pointer) {}) },
	"missing method":     func() { runtime.SetFinalizer(newT(), func(Missing) {}) },
	"missing unnamed":    func() { runtime.SetFinalizer(newT(), func(interface{ N() }) {}) },
	"named to named":     func() { runtime.SetFinalizer(NamedP(newPlain()), func(OtherP) {}) },
	"named to methods":   func() { runtime.SetFinalizer(NamedT(newT()), func(*T) {}) },
	"methods to named":   func() { runtime.SetFinalizer(newT(), func(NamedT) {}) },
	"named to interface": func() { runtime.SetFinalizer(NamedT(newT()), func(Method) {}) },
	"named to plain":     func() { runtime.SetFinalizer(NamedP(newPlain()), func(*Plain) {}) },
	"plain to named":     func() { runtime.SetFinalizer(newPlain(), func(NamedP) {}) },
	"interface":          func() { runtime.SetFinalizer(newT(), func(Method) {}) },
	"empty interface":    func() { runtime.SetFinalizer(NamedT(newT()), func(any) {}) },
	"set twice":          func() { t := newT(); runtime.SetFinalizer(t, func(*T) {}); runtime.SetFinalizer(t, func(any) {}) },
	"set twice, wrong":   func() { t := newT(); runtime.SetFinalizer(t, func(*T) {}); runtime.SetFinalizer(t, func(*int) {}) },
	"set, cleared, set": func() {
		t := newT()
		runtime.SetFinalizer(t, func(*T) {})
		runtime.SetFinalizer(t, nil)
		runtime.SetFinalizer(t, nil)
		runtime.SetFinalizer(t, func(*T) {})
	},
	"two fields of one": func() {
		t := newT()
		runtime.SetFinalizer(&t.Byte, func(*byte) {})
		runtime.SetFinalizer(&t.Small, func(any) {})
		runtime.SetFinalizer(t, func(*T) {})
	},
	"no size":        func() { runtime.SetFinalizer(new(Empty), func(int, ...T) {}) },
	"no size, twice": func() { e := new(Empty); runtime.SetFinalizer(e, func() {}); runtime.SetFinalizer(e, func() {}) },
	"global":         func() { runtime.SetFinalizer(&global, func() {}) },
	"global field":   func() { runtime.SetFinalizer(&global.Large, func() {}) },
	"cleanup: nil":   func() { runtime.AddCleanup((*T)(nil), func(*T) {}, nil) },
	"cleanup: equal": func() { t := newT(); runtime.AddCleanup(t, func(*T) {}, t) },
	"cleanup: equal, untyped": func() {
		t := newT()
		runtime.AddCleanup(t, func(unsafe.Pointer) {}, unsafe.Pointer(t))
	},
	"cleanup: equal, foreign": func() { p := (*T)(foreign()); runtime.AddCleanup(p, func(*T) {}, p) },
	"cleanup: within":         func() { t := newT(); runtime.AddCleanup(t, func(*byte) {}, &t.Byte) },
	"cleanup: within, inner":  func() { t := newT(); runtime.AddCleanup(&t.Byte, func(*T) {}, t) },
	"cleanup: foreign":        func() { runtime.AddCleanup((*T)(foreign()), func(int) {}, 1) },
	"cleanup: global":         func() { runtime.AddCleanup(&global, func(int) {}, 1) },
	"cleanup: global within":  func() { runtime.AddCleanup(&global, func(*byte) {}, &global.Byte) },
	"cleanup: no size":        func() { runtime.AddCleanup(new(Empty), func(int) {}, 1) },
	"cleanup: in interface":   func() { t := newT(); runtime.AddCleanup(t, func(any) {}, any(t)) },
	"cleanup: in struct":      func() { t := newT(); runtime.AddCleanup(t, func(Plain2) {}, Plain2{t}) },
	"cleanup: number":         func() { t := newT(); runtime.AddCleanup(t, func(uintptr) {}, uintptr(unsafe.Pointer(t))) },
	"cleanup: closes over": func() {
		t := newT()
		runtime.AddCleanup(t, func(int) { t.M() }, 1)
	},
	"cleanup: closes over a field": func() {
		t := newT()
		p := &t.Byte
		runtime.AddCleanup(t, func(int) { *p = 1 }, 1)
	},
	"cleanup: closes over another": func() {
		t := newT()
		runtime.AddCleanup(newT(), func(int) { t.M() }, 1)
	},
}

type Plain2 struct{ T *T }

func foreign() unsafe.Pointer {
	memory, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	return unsafe.Pointer(&memory[0])
}

// refuse makes one call. A throw says `fatal error: ` and its text on standard error.
func refuse(name string) {
	defer func() {
		if text := recover(); text != nil {
			fmt.Println(text)
		}
	}()
	refusals[name]()
	fmt.Println("accepted")
}

func init() {
	if len(os.Args) == 2 {
		refuse(os.Args[1])
		os.Exit(0)
	}
}
