// Timers: most of them are left before their time, and none takes a goroutine of its own.
package main

import (
	"fmt"
	"runtime"
	"time"
)

const Many = 300

func main() {
	ready := make(chan int, 1)
	for i := range Many {
		ready <- i
		select {
		case <-ready:
		case <-time.After(time.Hour + time.Duration(i%7)*time.Second):
			fmt.Println("an hour has passed")
		}
	}
	fmt.Println(runtime.NumGoroutine())
	// In the order of their times, whatever the order in which they were made.
	first, second, third := time.After(1e6), time.After(3e7), time.After(6e7)
	start := time.Now()
	for range 3 {
		select {
		case <-third:
			fmt.Println("third")
		case <-first:
			fmt.Println("first")
		case <-second:
			fmt.Println("second")
		}
	}
	fmt.Println(time.Since(start) >= 59*time.Millisecond)
	for i := range 200 {
		<-time.After(time.Duration(200-i) * time.Microsecond)
	}
	fmt.Println(runtime.NumGoroutine())
}
