// A finalizer with a parameter for any number of arguments is refused for that.
package main

import "runtime"

type T struct{ next *T }

func main() {
	runtime.SetFinalizer(new(T), func(t *T, more ...int) {})
}
