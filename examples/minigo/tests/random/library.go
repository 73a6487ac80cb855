package main

import (
	"fmt"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"weak"
)

// Base is what all objects begin with.
type Base struct {
	number, state     int
	check             int
	deed, param, more int
	armed             bool
	of                *Case
}

// Object is an object of any type.
type Object interface {
	base() *Base
	// slot and inner are where the object refers to others: to a whole one, or into one.
	slot(n int) *Object
	inner(n int) **int
	last() *int
	// weak is a weak pointer to it, with a number.
	weak(number int) Handle
	// arm sets the finalizer that the object says; disarm clears it.
	arm()
	disarm()
}

func (b *Base) base() *Base { return b }

func newBase(of *Case, number int) Base {
	return Base{number: number, check: number*31 + 7, of: of}
}

// Box is a root that two closures have captured.
type Box struct {
	get func() Object
	set func(Object)
}

func newBox() Box {
	var object Object
	return Box{func() Object { return object }, func(o Object) { object = o }}
}

type Handle struct {
	number, target int
	object         func() Object
	isNil          func() bool
}

type Argument struct {
	of     *Case
	number int
	object Object
}

// Case is one program: its roots lie in different places.
type Case struct {
	array    [16]Object
	slice    []Object
	named    map[string]Object
	boxes    [16]Box
	globals  []Object
	weaks    []Handle
	cleanups map[int]runtime.Cleanup
	lock     sync.Mutex
	events   []string
}

func newCase() *Case {
	c := &Case{slice: make([]Object, 16), named: map[string]Object{}, cleanups: map[int]runtime.Cleanup{}}
	for i := range c.boxes {
		c.boxes[i] = newBox()
	}
	return c
}

// happened is how many events there were, of all cases.
var happened atomic.Int64

// say is called with the lock held.
func (c *Case) say(event string) {
	c.events = append(c.events, event)
	happened.Add(1)
}

// finalize is every object's finalizer; the object says what it does.
func finalize(o Object) {
	b := o.base()
	c := b.of
	c.lock.Lock()
	defer c.lock.Unlock()
	event := fmt.Sprintf("F%d", b.number)
	if b.check != b.number*31+7 {
		event += "!check"
	}
	for _, w := range c.weaks {
		if w.target == b.number && !w.isNil() {
			event += fmt.Sprintf("!w%d", w.number)
		}
	}
	c.say(event)
	b.armed = false
	first := o.slot(0)
	switch b.deed {
	case 1: // keep
		c.globals = append(c.globals, o)
	case 2: // again
		if b.more != 0 {
			b.more--
			o.arm()
		}
	case 3: // save
		if first != nil && *first != nil {
			c.globals = append(c.globals, *first)
		}
	case 4: // cut
		if first != nil {
			*first = nil
			*o.inner(0) = nil
		}
	case 5: // child
		if first != nil && *first != nil && !(*first).base().armed {
			child := (*first).base()
			child.deed, child.param = 0, 0
			(*first).arm()
		}
	}
}

func (c *Case) finalizeAny(v any) { finalize(v.(Object)) }

// finalizeInner is a finalizer of an object's second word.
func (c *Case) finalizeInner(number int) func(*int) {
	return func(state *int) {
		c.lock.Lock()
		defer c.lock.Unlock()
		*state = 0
		c.say("I" + fmt.Sprint(number))
	}
}

func cleanUp(a Argument) {
	c := a.of
	c.lock.Lock()
	defer c.lock.Unlock()
	event := "C" + fmt.Sprint(a.number)
	if a.object != nil {
		event = fmt.Sprint(event, ":", a.object.base().number)
	}
	c.say(event)
}

func link(from Object, n int, to Object, at int) {
	if from == nil || to == nil || from.slot(n) == nil {
		return
	}
	slot, inner := from.slot(n), from.inner(n)
	*slot, *inner = nil, nil
	switch at {
	case 0:
		*slot = to
	case 1:
		*inner = &to.base().state
	default:
		*inner = to.last()
	}
}

func cut(from Object, n int) {
	if from != nil && from.slot(n) != nil {
		*from.slot(n), *from.inner(n) = nil, nil
	}
}

func setFinalizer(o Object, deed, param int) {
	if o == nil || o.base().armed {
		return
	}
	b := o.base()
	b.deed, b.param, b.more = deed, param, 2
	o.arm()
}

func clearFinalizer(o Object) {
	if o != nil {
		o.disarm()
	}
}

func setInner(o Object) {
	if o != nil && o.base().state == 0 {
		b := o.base()
		b.state = 1
		runtime.SetFinalizer(&b.state, b.of.finalizeInner(b.number))
	}
}

func clearInner(o Object) {
	if o != nil {
		o.base().state = 0
		runtime.SetFinalizer(&o.base().state, nil)
	}
}

func place(o Object, at int) *int {
	switch at {
	case 0:
		return &o.base().number
	case 1:
		return &o.base().state
	}
	return o.last()
}

func (c *Case) addCleanup(o Object, at, number int, argument Object) {
	if o != nil {
		c.cleanups[number] = runtime.AddCleanup(place(o, at), cleanUp, Argument{c, number, argument})
	}
}

func (c *Case) addWeak(o Object, at, number int) {
	if o == nil {
		return
	}
	if at == 0 {
		c.weaks = append(c.weaks, o.weak(number))
		return
	}
	w := weak.Make(place(o, at))
	none := func() Object { return nil }
	c.weaks = append(c.weaks, Handle{number, o.base().number, none, func() bool { return w.Value() == nil }})
}

func (c *Case) strong(number int) Object {
	for _, w := range c.weaks {
		if w.number == number {
			return w.object()
		}
	}
	return nil
}

func (c *Case) get(root int) Object {
	switch root % 4 {
	case 0:
		return c.array[root]
	case 1:
		return c.slice[root]
	case 2:
		return c.named[fmt.Sprint("r", root)]
	}
	return c.boxes[root].get()
}

func (c *Case) set(root int, o Object) {
	switch root % 4 {
	case 0:
		c.array[root] = o
	case 1:
		c.slice[root] = o
	case 2:
		if o == nil {
			delete(c.named, fmt.Sprint("r", root))
		} else {
			c.named[fmt.Sprint("r", root)] = o
		}
	default:
		c.boxes[root].set(o)
	}
}

func fields(text string) []string {
	var words []string
	start := 0
	for i := range text {
		if text[i] == ' ' {
			words = append(words, text[start:i])
			start = i + 1
		}
	}
	return append(words, text[start:])
}

func number(text string) int {
	n := 0
	for _, digit := range text {
		n = n*10 + int(digit-'0')
	}
	return n
}

var names = map[string]int{
	"start": 0, "second": 1, "last": 2,
	"plain": 0, "keep": 1, "again": 2, "save": 3, "cut": 4, "child": 5,
	"pointer": 0, "any": 1, "interface": 2,
}

var makers = map[string]func(*Case, int) Object{
	"leaf":  func(c *Case, n int) Object { return newLeaf(c, n) },
	"one":   func(c *Case, n int) Object { return newOne(c, n) },
	"three": func(c *Case, n int) Object { return newThree(c, n) },
	"big":   func(c *Case, n int) Object { return newBig(c, n) },
	"huge":  func(c *Case, n int) Object { return newHuge(c, n) },
}

// step runs one operation in its text form.
func (c *Case) step(text string) {
	words := fields(text)
	if words[0] == "dropglobals" {
		c.globals = nil
		return
	}
	first := number(words[1])
	switch words[0] {
	case "alloc":
		c.set(first, makers[words[3]](c, number(words[2])))
		return
	case "stop":
		c.cleanups[first].Stop()
		return
	case "strong":
		if o := c.strong(first); o != nil {
			c.set(number(words[2]), o)
		}
		return
	}
	o := c.get(first)
	switch words[0] {
	case "link":
		link(o, number(words[2]), c.get(number(words[3])), names[words[4]])
	case "cut":
		cut(o, number(words[2]))
	case "fin":
		setFinalizer(o, names[words[2]], names[words[3]])
	case "clear":
		clearFinalizer(o)
	case "inner":
		setInner(o)
	case "clearinner":
		clearInner(o)
	case "cleanup":
		var argument Object
		if words[4] != "-" {
			argument = c.get(number(words[4]))
		}
		c.addCleanup(o, names[words[3]], number(words[2]), argument)
	case "weak":
		c.addWeak(o, names[words[3]], number(words[2]))
	case "copy":
		if o != nil {
			c.set(number(words[2]), o)
		}
	case "drop":
		c.set(first, nil)
	default:
		panic("operation " + text)
	}
}

func sentinel(passed chan bool) {
	runtime.SetFinalizer(newOne(nil, 0), func(*One) { passed <- true })
	runtime.AddCleanup(newOne(nil, 0), func(passed chan bool) { passed <- true }, passed)
}

// round collects, and waits for a finalizer and a cleanup that become due: what was due before has
// begun then.
func round() {
	passed := make(chan bool, 2)
	sentinel(passed)
	runtime.GC()
	for got, waits := 0, 0; got < 2; waits++ {
		select {
		case <-passed:
			got++
		default:
			runtime.Gosched()
			if waits%64 == 63 {
				runtime.GC()
			}
		}
	}
}

// settle collects until nothing happens any more.
func settle() {
	for quiet := 0; quiet < 3; quiet++ {
		before := happened.Load()
		round()
		if happened.Load() != before {
			quiet = -1
		}
	}
}

// report is what the program can see: the events since the last report, in alphabetical order, and
// which weak pointers are not nil.
func (c *Case) report() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	sort.Strings(c.events)
	text := strings.Join(c.events, " ")
	c.events = nil
	for _, w := range c.weaks {
		sign := "+"
		if w.isNil() {
			sign = "-"
		}
		text += fmt.Sprintf(" w%d%s", w.number, sign)
	}
	return text
}

// Phase is what happens between collections: as code, or as operations in text form.
type Phase struct {
	code func(*Case)
	text string
}

func (c *Case) run(p Phase) {
	if p.code != nil {
		p.code(c)
		return
	}
	start := 0
	for i := range p.text {
		if p.text[i] == '\n' {
			c.step(p.text[start:i])
			start = i + 1
		}
	}
}

type Program struct {
	number int
	phases []Phase
}

func main() {
	for start := 0; start < len(programs); start += together {
		group := programs[start:min(start+together, len(programs))]
		cases := make([]*Case, len(group))
		longest := 0
		for i, program := range group {
			cases[i] = newCase()
			longest = max(longest, len(program.phases))
		}
		for n := range longest {
			for i, program := range group {
				if n < len(program.phases) {
					cases[i].run(program.phases[n])
				}
			}
			settle()
			for i, program := range group {
				if n < len(program.phases) {
					fmt.Printf("%d.%d: %s\n", program.number, n, cases[i].report())
				}
			}
		}
	}
}
