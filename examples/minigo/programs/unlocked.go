// A lock that is given back twice ends the program, whatever recovers.
package main

import (
	"fmt"
	"sync"
)

func main() {
	defer func() { fmt.Println("never", recover()) }()
	var lock sync.RWMutex
	lock.RLock()
	lock.RUnlock()
	lock.RUnlock()
}
