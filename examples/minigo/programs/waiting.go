// Goroutines that wait for each other: locks, conditions, groups, timers, select, labels.
package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Queue is a queue of limited length.
type Queue struct {
	lock  sync.Mutex
	room  *sync.Cond
	items *sync.Cond
	list  []int
}

func NewQueue() *Queue {
	q := &Queue{}
	q.room = sync.NewCond(&q.lock)
	q.items = sync.NewCond(&q.lock)
	return q
}

func (q *Queue) Put(n int) {
	q.lock.Lock()
	defer q.lock.Unlock()
	for len(q.list) == 2 {
		q.room.Wait()
	}
	q.list = append(q.list, n)
	q.items.Signal()
}

func (q *Queue) Get() int {
	q.lock.Lock()
	defer q.lock.Unlock()
	for len(q.list) == 0 {
		q.items.Wait()
	}
	n := q.list[0]
	q.list = q.list[1:]
	q.room.Signal()
	return n
}

// Shape has methods by value and by pointer.
type Shape interface {
	Area() int
	Grow(by int)
}

type Square struct{ side int }

func (s Square) Area() int    { return s.side * s.side }
func (s *Square) Grow(by int) { s.side += by }

type Named struct {
	*Square
	name string
}

func main() {
	q := NewQueue()
	var group sync.WaitGroup
	var sum atomic.Int64
	for range 3 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 10 {
				sum.Add(int64(q.Get()))
			}
		}()
	}
	for i := range 30 {
		q.Put(i)
	}
	group.Wait()
	fmt.Println("sum", sum.Load())

	var start sync.Mutex
	ready := sync.NewCond(&start)
	started, waiting := false, 0
	for range 5 {
		group.Add(1)
		go func() {
			defer group.Done()
			start.Lock()
			waiting++
			for !started {
				ready.Wait()
			}
			start.Unlock()
			sum.Add(1)
		}()
	}
	for {
		start.Lock()
		if waiting == 5 {
			started = true
			ready.Broadcast()
			start.Unlock()
			break
		}
		start.Unlock()
		time.Sleep(time.Millisecond)
	}
	group.Wait()
	fmt.Println("sum", sum.Load())

	var table sync.RWMutex
	values := map[int]int{}
	for i := range 4 {
		group.Add(2)
		go func() {
			defer group.Done()
			table.Lock()
			defer table.Unlock()
			values[i] = i * i
		}()
		go func() {
			defer group.Done()
			table.RLock()
			defer table.RUnlock()
			if v, ok := values[i]; ok && v != i*i {
				fmt.Println("wrong", v)
			}
		}()
	}
	group.Wait()
	fmt.Println(values, table.TryLock(), table.TryRLock())

	var once sync.Once
	for range 3 {
		once.Do(func() { fmt.Println("once") })
	}

	never := make(chan int)
	select {
	case <-never:
		fmt.Println("never")
	case <-time.After(5 * time.Millisecond):
		fmt.Println("timeout")
	}
	from := time.Now()
	time.Sleep(3 * time.Millisecond)
	took := time.Since(from)
	fmt.Println(took >= 3*time.Millisecond, took < time.Minute)

	numbers, quit := make(chan int), make(chan struct{})
	go func() {
		defer close(quit)
		for n := range numbers {
			if n == 3 {
				return
			}
		}
	}()
	sent := 0
loop:
	for i := 0; ; i++ {
		select {
		case numbers <- i:
			sent++
		case <-quit:
			break loop
		}
	}
	fmt.Println("sent", sent)
	select {
	case n, ok := <-numbers:
		fmt.Println(n, ok)
	default:
		fmt.Println("nothing")
	}

outer:
	for i := range 4 {
		for j := range 4 {
			switch {
			case j == 2:
				continue outer
			case i == 3:
				break outer
			}
			fmt.Print(i, j, " ")
		}
	}
	fmt.Println()

	var shape Shape = &Square{2}
	shape.Grow(1)
	named := Named{&Square{4}, "embedded"}
	shape = named
	shape.Grow(2)
	grow := named.Grow
	grow(1)
	_, isSquare := shape.(*Square)
	fmt.Println(shape.Area(), named.side, isSquare, Square.Area(Square{5}))
	fmt.Fprintln(os.Stdout, "done")
}
