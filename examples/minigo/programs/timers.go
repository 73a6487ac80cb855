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
	// In the order of their times, whatever the order in which they were made and are asked.
	start := time.Now()
	third, first, second := time.After(6e7), time.After(1e6), time.After(3e7)
	var at [3]time.Time
	for range 3 {
		select {
		case at[2] = <-third:
		case at[0] = <-first:
		case at[1] = <-second:
		}
	}
	fmt.Println("first before second:", at[0].Before(at[1]))
	fmt.Println("second before third:", at[1].Before(at[2]))
	fmt.Println(time.Since(start) >= 60*time.Millisecond)
	for i := range 200 {
		<-time.After(time.Duration(200-i) * time.Microsecond)
	}
	fmt.Println(runtime.NumGoroutine())
}
