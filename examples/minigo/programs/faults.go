// The panics of the runtime by type and text, locks, and what is printed of a panic during another.
package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

type named interface{ Name() string }
type thing struct{ n int }

func (*thing) Name() string { return "thing" }

func try(f func()) {
	defer func() {
		value := recover()
		_, isRuntime := value.(runtime.Error)
		fmt.Printf("%T %v %v\n", value, value, isRuntime)
	}()
	f()
}

//go:noinline
func number(n int) int { return n }

func main() {
	var text = "abc"
	var array [4]int
	slice := make([]int, 2, 3)
	object := &thing{}
	var none any
	for _, f := range []func(){
		func() { _ = slice[number(5)] },
		func() { _ = slice[number(2):number(1)] },
		func() { _ = slice[:number(9)] },
		func() { _ = array[:number(9)] },
		func() { _ = text[:number(9)] },
		func() { _ = slice[number(2):number(1):2] },
		func() { _ = slice[:number(3):number(2)] },
		func() { _ = array[:number(1):number(-1)] },
		func() { _ = array[:2:number(9)] },
		func() { _ = make([]int, number(2), number(1)) },
		func() { _ = make([]int, number(-1)) },
		func() { _ = number(1) / number(0) },
		func() { _ = none.(int) },
		func() { none = thing{}; _ = none.(named) },
		func() { var m map[string]int; m["a"] = 1 },
		func() { var c chan int; close(c) },
		func() { (*thing)(nil).n++ },
		func() { runtime.AddCleanup(object, func(*int) {}, &object.n) },
		func() { runtime.AddCleanup((*thing)(nil), func(int) {}, 1) },
		func() { var group sync.WaitGroup; group.Done() },
	} {
		if len(array) > 3 {
			try(f)
		}
	}

	var lock sync.RWMutex
	lock.RLock()
	done := make(chan bool)
	go func() {
		lock.Lock()
		fmt.Println("written")
		lock.Unlock()
		done <- true
	}()
	for lock.TryRLock() { // until the writer waits
		lock.RUnlock()
		time.Sleep(time.Millisecond)
	}
	fmt.Println(lock.TryRLock(), lock.TryLock())
	lock.RUnlock()
	<-done
	fmt.Println(lock.TryLock(), lock.TryRLock())
	before := runtime.NumGoroutine()
	time.After(time.Hour)
	fmt.Println(runtime.NumGoroutine() - before)

	defer func() {
		defer func() {
			fmt.Println(recover())
			panic("third")
		}()
		panic(recover())
	}()
	panic("first")
}
