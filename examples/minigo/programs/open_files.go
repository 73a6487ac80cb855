// Files that nobody closes are closed when they are found unreachable.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	for i := range 1000 {
		if i%50 == 0 {
			runtime.GC()
		}
		file, err := os.Open("/dev/null")
		if err != nil {
			fmt.Println(i, err)
			return
		}
		if i%3 == 0 {
			file.Close()
		}
	}
	fmt.Println("opened")
}
