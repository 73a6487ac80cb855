package sync

type Locker interface {
	Lock()
	Unlock()
}

// fatal ends the program.
func fatal(text string)

// made makes a channel, unless there is one. Another goroutine may run where an object is made: so
// this comes before conditions that must still hold when a goroutine waits.
func made(turns *chan struct{}) {
	if *turns == nil {
		c := make(chan struct{})
		if *turns == nil {
			*turns = c
		}
	}
}

// A goroutine that waits for a lock waits to receive from turns.
type Mutex struct {
	locked  bool
	waiting int
	turns   chan struct{}
}

func (m *Mutex) Lock() {
	for m.locked {
		if m.turns == nil {
			made(&m.turns)
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
		fatal("fatal error: sync: unlock of unlocked mutex")
	}
	m.locked = false
	if m.waiting > 0 {
		m.waiting--
		m.turns <- struct{}{}
	}
}

// RWMutex: new readers wait for a writer that waits for those that are there.
type RWMutex struct {
	writers Mutex
	// A writer has it or waits for readers to end.
	writing          bool
	readers, waiting int
	turns, last      chan struct{}
}

func (m *RWMutex) Lock() {
	m.writers.Lock()
	made(&m.last)
	m.writing = true
	if m.readers > 0 {
		<-m.last
	}
}

func (m *RWMutex) Unlock() {
	if !m.writing {
		fatal("fatal error: sync: Unlock of unlocked RWMutex")
	}
	m.writing = false
	waiting := m.waiting
	m.readers, m.waiting = m.readers+waiting, 0
	for range waiting {
		m.turns <- struct{}{}
	}
	m.writers.Unlock()
}

type readLocker RWMutex

func (m *readLocker) Lock()   { (*RWMutex)(m).RLock() }
func (m *readLocker) Unlock() { (*RWMutex)(m).RUnlock() }

func (m *RWMutex) RLocker() Locker { return (*readLocker)(m) }

func (m *RWMutex) RLock() {
	made(&m.turns)
	if m.writing {
		m.waiting++
		<-m.turns
	} else {
		m.readers++
	}
}

func (m *RWMutex) RUnlock() {
	if m.readers == 0 {
		fatal("fatal error: sync: RUnlock of unlocked RWMutex")
	}
	m.readers--
	if m.readers == 0 && m.writing {
		m.last <- struct{}{}
	}
}

func (m *RWMutex) TryLock() bool {
	if m.readers > 0 || m.writing || !m.writers.TryLock() {
		return false
	}
	m.writing = true
	return true
}

func (m *RWMutex) TryRLock() bool {
	if m.writing {
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
	made(&c.turns)
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
	made(&w.done)
	if w.count == 0 {
		return
	}
	w.waiting++
	<-w.done
}

func (w *WaitGroup) Go(f func()) {
	w.Add(1)
	go func() {
		// A panic of f ends the program.
		defer func() {
			if err := recover(); err != nil {
				panic(err)
			}
			w.Done()
		}()
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
