// Package channel has what channels do. Generated code passes values of all types as any. Who waits
// makes all its objects first, as another goroutine may run where one is made.
package channel

// Channel is what a variable of a channel type refers to.
type Channel struct {
	length, size       int
	ring               []any
	first              int
	closed             bool
	receivers, senders queue
}

// waiter is one who sends or receives, or a case of a select.
type waiter struct {
	at     *Channel
	sends  bool
	number int
	turn   *turn
	next   *waiter
	// What is sent, or was received, and whether the channel was open.
	value any
	ok    bool
}

// turn is shared by the cases of a select: the first of them that can go on takes it.
type turn struct {
	goroutine int
	taken     *waiter
}

type queue struct{ first, last *waiter }

// Timers is the number of goroutines that are timers of the package time.
var Timers int

// Functions of the host: ready lets a goroutine that is parked go on.
func goroutine() int
func park()
func ready(goroutine int)
func fault(text string)

func (q *queue) add(w *waiter) {
	if q.first == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
}

// take removes the first one whose turn is not taken.
func (q *queue) take() *waiter {
	for {
		w := q.first
		if w == nil {
			return nil
		}
		q.remove(w)
		if w.turn.taken == nil {
			return w
		}
	}
}

func (q *queue) remove(w *waiter) {
	var before *waiter
	for at := q.first; at != nil; before, at = at, at.next {
		if at != w {
			continue
		}
		if before == nil {
			q.first = w.next
		} else {
			before.next = w.next
		}
		if q.last == w {
			q.last = before
		}
		w.next = nil
		return
	}
}

func newWaiter(c *Channel, sends bool, value any) *waiter {
	return &waiter{at: c, sends: sends, turn: &turn{goroutine: goroutine()}, value: value}
}

func (w *waiter) queue() *queue {
	if w.sends {
		return &w.at.senders
	}
	return &w.at.receivers
}

// goOn ends the waiting of one who has been taken from its queue.
func (w *waiter) goOn(value any, ok bool) {
	w.value, w.ok = value, ok
	w.turn.taken = w
	ready(w.turn.goroutine)
}

// try does what does not need to wait, and says whether that was so.
func (w *waiter) try() bool {
	c := w.at
	switch {
	case c == nil:
		return false
	case w.sends && c.closed:
		fault("send on closed channel")
	case w.sends:
		if receiver := c.receivers.take(); receiver != nil {
			receiver.goOn(w.value, true)
			return true
		}
		if c.length == c.size {
			return false
		}
		c.put(w.value)
	case c.length > 0:
		w.value, w.ok = c.ring[c.first], true
		c.ring[c.first] = nil
		c.first = (c.first + 1) % c.size
		c.length--
		if sender := c.senders.take(); sender != nil {
			c.put(sender.value)
			sender.goOn(nil, true)
		}
	default:
		sender := c.senders.take()
		if sender == nil {
			return c.closed
		}
		w.value, w.ok = sender.value, true
		sender.goOn(nil, true)
	}
	return true
}

func (c *Channel) put(value any) {
	c.ring[(c.first+c.length)%c.size] = value
	c.length++
}

// wait waits until one of the cases, which have one turn, has gone on; returns that.
func wait(t *turn, cases []*waiter) *waiter {
	for _, w := range cases {
		if w.at != nil {
			w.queue().add(w)
		}
	}
	for t.taken == nil {
		park()
	}
	for _, w := range cases {
		if w.at != nil && w != t.taken {
			w.queue().remove(w)
		}
	}
	if t.taken.sends && !t.taken.ok {
		fault("send on closed channel")
	}
	return t.taken
}

func create(size int) *Channel {
	if size < 0 || size > 1<<32 {
		fault("makechan: size out of range")
	}
	return &Channel{size: size, ring: make([]any, size)}
}

func length(c *Channel) int {
	if c == nil {
		return 0
	}
	return c.length
}

func capacity(c *Channel) int {
	if c == nil {
		return 0
	}
	return c.size
}

func send(c *Channel, value any) {
	cases := []*waiter{newWaiter(c, true, value)}
	if !cases[0].try() {
		wait(cases[0].turn, cases)
	}
}

func receive(c *Channel) (any, bool) {
	cases := []*waiter{newWaiter(c, false, nil)}
	if !cases[0].try() {
		wait(cases[0].turn, cases)
	}
	return cases[0].value, cases[0].ok
}

func closing(c *Channel) {
	if c == nil {
		fault("close of nil channel")
	}
	if c.closed {
		fault("close of closed channel")
	}
	c.closed = true
	for w := c.receivers.take(); w != nil; w = c.receivers.take() {
		w.goOn(nil, false)
	}
	for w := c.senders.take(); w != nil; w = c.senders.take() {
		w.goOn(nil, false)
	}
}

// selection is a select that is prepared.
type selection struct {
	turn  *turn
	cases []*waiter
}

// with adds a case to a selection, which is made with the first one.
func (s *selection) with(w *waiter) *selection {
	if s == nil {
		s = &selection{turn: w.turn}
	}
	w.number, w.turn = len(s.cases), s.turn
	s.cases = append(s.cases, w)
	return s
}

func sending(s *selection, c *Channel, value any) *selection {
	return s.with(newWaiter(c, true, value))
}

func receiving(s *selection, c *Channel) *selection {
	return s.with(newWaiter(c, false, nil))
}

// run returns the number of the case that went on, -1 for the default, and what it has received.
func run(s *selection, waits bool) (int, any, bool) {
	if s == nil {
		s = &selection{turn: &turn{goroutine: goroutine()}}
	}
	for _, w := range s.cases {
		if w.try() {
			return w.number, w.value, w.ok
		}
	}
	if !waits {
		return -1, nil, false
	}
	w := wait(s.turn, s.cases)
	return w.number, w.value, w.ok
}
