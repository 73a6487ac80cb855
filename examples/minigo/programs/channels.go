// Goroutines, channels, select: a pipeline, a pool, a ticker of one's own.
package main

import (
	"fmt"
	"sync"
	"time"
)

func count(n int) <-chan int {
	c := make(chan int)
	go func() {
		defer close(c)
		for i := range n {
			c <- i
		}
	}()
	return c
}

func square(in <-chan int) <-chan int {
	out := make(chan int, 2)
	go func() {
		for v := range in {
			out <- v * v
		}
		close(out)
	}()
	return out
}

func sieve(n int) []int {
	primes := []int{}
	src := make(chan int)
	go func() {
		for i := 2; ; i++ {
			src <- i
		}
	}()
	for len(primes) < n {
		p := <-src
		primes = append(primes, p)
		next := make(chan int)
		go func(in <-chan int) {
			for {
				if v := <-in; v%p != 0 {
					next <- v
				}
			}
		}(src)
		src = next
	}
	return primes
}

func main() {
	sum := 0
	for v := range square(count(10)) {
		sum += v
	}
	fmt.Println("squares", sum)
	fmt.Println("primes", sieve(10))

	jobs, results := make(chan int, 20), make(chan int, 20)
	var wg sync.WaitGroup
	for w := 0; w < 3; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range jobs {
				results <- j * 10
			}
		}()
	}
	for i := range 20 {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	close(results)
	total := 0
	for r := range results {
		total += r
	}
	fmt.Println("total", total, cap(results), len(results))

	c := make(chan string)
	select {
	case s := <-c:
		fmt.Println(s)
	case <-time.After(5 * time.Millisecond):
		fmt.Println("timeout")
	}
	var never chan int
	go func() { c <- "late" }()
	for done := false; !done; {
		select {
		case <-never:
			fmt.Println("never")
		case s, ok := <-c:
			fmt.Println(s, ok)
			done = true
		}
	}
	v, ok := <-results
	fmt.Println(v, ok)
	var once sync.Once
	for range 3 {
		once.Do(func() { fmt.Println("once") })
	}
}
