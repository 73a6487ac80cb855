// A panic that nothing recovers ends the program, after its deferred calls.
package main

import "fmt"

type Custom struct{ code int }

func (c *Custom) Error() string { return fmt.Sprint("custom ", c.code) }

func main() {
	defer fmt.Println("deferred 1")
	defer func() {
		fmt.Println("deferred 2")
	}()
	var list []int
	if len(list) == 0 {
		panic(&Custom{3})
	}
}
