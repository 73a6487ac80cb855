// All goroutines wait for ever: the program ends with an error, after its output.
package main

import "fmt"

func main() {
	c := make(chan int)
	fmt.Println("before")
	go func() {
		<-c
		<-c
	}()
	c <- 1
	var nothing chan int
	<-nothing
}
