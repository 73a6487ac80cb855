// `go` of a nil function ends the program: it is no panic that something could recover.
package main

import "fmt"

func main() {
	defer func() { fmt.Println("recovered", recover()) }()
	var f func(int)
	go f(1)
	var g func()
	go g()
}
