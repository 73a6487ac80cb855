package sync

type Locker interface {
	Lock()
	Unlock()
}

// Another goroutine may run where an object is made. So channels are made before conditions are
// tested that must still hold when a goroutine waits.

// A goroutine that waits for a lock waits to receive from turns.
type Mutex struct {
	locked  bool
	waiting int
	turns   chan struct{}
}

func (m *Mutex) Lock() {
	for m.locked {
		if m.turns == nil {
			m.turns = make(chan struct{})
			continue
		}
		m.waiting++
		<-m.turns
	}
	m.locked = true
}

func (m *Mutex) TryLock() bool {
	if m.locked {
		return false
	}
	m.locked = true
	return true
}

func (m *Mutex) Unlock() {
	if !m.locked {
		panic("sync: unlock of unlocked mutex")
	}
	m.locked = false
	if m.waiting > 0 {
		m.waiting--
		m.turns <- struct{}{}
	}
}

type RWMutex struct {
	m       Mutex
	readers int
}

func (m *RWMutex) Lock()   { m.m.Lock() }
func (m *RWMutex) Unlock() { m.m.Unlock() }

func (m *RWMutex) RLock() {
	if m.readers == 0 {
		m.m.Lock()
	}
	m.readers++
}

func (m *RWMutex) RUnlock() {
	m.readers--
	if m.readers == 0 {
		m.m.Unlock()
	}
}

func (m *RWMutex) TryLock() bool { return m.m.TryLock() }

func (m *RWMutex) TryRLock() bool {
	if m.readers == 0 && !m.m.TryLock() {
		return false
	}
	m.readers++
	return true
}

// A goroutine that waits for a condition waits to receive from turns.
type Cond struct {
	L       Locker
	waiting int
	turns   chan struct{}
}

func NewCond(l Locker) *Cond { return &Cond{L: l} }

func (c *Cond) Wait() {
	if c.turns == nil {
		c.turns = make(chan struct{})
	}
	c.waiting++
	c.L.Unlock()
	<-c.turns
	c.L.Lock()
}

func (c *Cond) Signal() {
	if c.waiting > 0 {
		c.waiting--
		c.turns <- struct{}{}
	}
}

func (c *Cond) Broadcast() {
	for range c.waiting {
		c.Signal()
	}
}

type WaitGroup struct {
	count   int
	waiting int
	done    chan struct{}
}

func (w *WaitGroup) Add(n int) {
	w.count += n
	if w.count < 0 {
		panic("sync: negative WaitGroup counter")
	}
	if w.count > 0 {
		return
	}
	for w.waiting > 0 {
		w.waiting--
		w.done <- struct{}{}
	}
}

func (w *WaitGroup) Done() { w.Add(-1) }

func (w *WaitGroup) Wait() {
	if w.done == nil {
		w.done = make(chan struct{})
	}
	if w.count == 0 {
		return
	}
	w.waiting++
	<-w.done
}

func (w *WaitGroup) Go(f func()) {
	w.Add(1)
	go func() {
		defer w.Done()
		f()
	}()
}

type Once struct {
	m    Mutex
	done bool
}

func (o *Once) Do(f func()) {
	if o.done {
		return
	}
	o.m.Lock()
	defer o.m.Unlock()
	if !o.done {
		defer func() { o.done = true }()
		f()
	}
}
