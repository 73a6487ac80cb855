package sync

type Locker interface {
	Lock()
	Unlock()
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
			m.turns = make(chan struct{})
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
	if w.count == 0 {
		return
	}
	if w.done == nil {
		w.done = make(chan struct{})
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
