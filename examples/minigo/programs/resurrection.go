// A finalizer brings its object back, and sets itself anew.
package main

import (
	"fmt"
	"runtime"
)

type Phoenix struct {
	lives int
	egg   *Phoenix
}

var saved *Phoenix
var risen = make(chan bool, 1)

func rise(p *Phoenix) {
	p.lives++
	saved = p
	if p.lives < 3 {
		runtime.SetFinalizer(p, rise)
	}
	risen <- true
}

func hatch() {
	runtime.SetFinalizer(&Phoenix{}, rise)
}

func wait() {
	for {
		runtime.GC()
		select {
		case <-risen:
			return
		default:
		}
	}
}

func main() {
	hatch()
	for i := 1; i <= 3; i++ {
		wait()
		fmt.Println("life", saved.lives)
		saved = nil
	}
	for range 3 {
		runtime.GC()
	}
	fmt.Println("risen once more:", len(risen))
}
