// A goroutine for each finalizer, as the one that runs finalizers must not wait.
package main

import (
	"fmt"
	"runtime"
	"sync"
)

const N = 20

type Job struct {
	n    int
	next *Job
}

func main() {
	var mu sync.Mutex
	sum := 0
	turns := make(chan int)
	finished := make(chan bool, N)
	func() {
		for i := 1; i <= N; i++ {
			runtime.SetFinalizer(&Job{n: i}, func(j *Job) {
				go func() {
					turn := <-turns
					mu.Lock()
					sum += j.n * turn
					mu.Unlock()
					finished <- true
				}()
			})
		}
	}()
	for i := range N {
		_ = i
		for sent := false; !sent; {
			select {
			case turns <- 2:
				sent = true
			default:
				runtime.GC()
				runtime.Gosched()
			}
		}
	}
	for range N {
		<-finished
	}
	fmt.Println(sum)
}
