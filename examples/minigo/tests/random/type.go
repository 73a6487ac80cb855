
type TYPE struct {
	Base
	p    [FIELDS]Object
	q    [FIELDS]*int
	data [WORDS]int
}

func newTYPE(of *Case, number int) *TYPE { return &TYPE{Base: newBase(of, number)} }

func (x *TYPE) slot(n int) *Object {
	if n >= len(x.p) {
		return nil
	}
	return &x.p[n]
}

func (x *TYPE) inner(n int) **int { return &x.q[n] }
func (x *TYPE) last() *int        { return &x.data[len(x.data)-1] }
func (x *TYPE) finalize()         { finalize(x) }

func (x *TYPE) arm() {
	x.armed = true
	number := x.number
	switch x.param {
	case 0:
		runtime.SetFinalizer(x, func(y *TYPE) {
			if y.number != number {
				panic("another object's finalizer")
			}
			finalize(y)
		})
	case 1:
		runtime.SetFinalizer(x, func(v any) { finalize(v.(*TYPE)) })
	case 2:
		runtime.SetFinalizer(x, func(o Object) { finalize(o) })
	}
}

func (x *TYPE) weak(number int) Handle {
	w := weak.Make(x)
	object := func() Object {
		if x := w.Value(); x != nil {
			return x
		}
		return nil
	}
	return Handle{number, x.number, object, func() bool { return w.Value() == nil }}
}

func (x *TYPE) disarm() {
	x.armed = false
	runtime.SetFinalizer(x, nil)
}
