// Variables of loops: each iteration has its own, and closures see what changes them.
package main

import "fmt"

func main() {
	var fs []func() int
	for i := 0; i < 3; i++ {
		fs = append(fs, func() int { return i })
	}
	for _, f := range fs {
		fmt.Println(f())
	}
	fs = nil
	for i := 0; i < 6; i++ {
		fs = append(fs, func() int { i += 10; return i })
		i++
	}
	for _, f := range fs {
		fmt.Println(f(), f())
	}
	var last func() int
	for i := 0; i < 3; i, last = i+1, func() int { return i } {
		if last != nil {
			fmt.Println("last", last())
		}
	}
	fmt.Println(last())
	for i := 0; func() bool { last = func() int { return i }; return i < 3 }(); i++ {
		fmt.Println("cond", last())
	}
	fmt.Println(last())
	for i, f := 0, func() int { return 7 }; i < 2; i, f = i+f(), func() int { return i * 100 } {
		fmt.Println(i, f())
	}
	for i := 0; i < 3; func() { i++ }() {
		fs = append(fs, func() int { return i })
	}
	for _, f := range fs {
		fmt.Println(f())
	}
	for i, p := 0, (*int)(nil); i < 3; i++ {
		if p == nil {
			p = &i
		}
		fmt.Println(*p, i)
	}
	for i := 0; i < 3; i++ {
		f := func() { fmt.Println("in", i) }
		if i == 1 {
			i++
		}
		f()
	}
	for i := 0; i < 4; i++ {
		defer func() { fmt.Println("deferred", i) }()
		if i == 2 {
			continue
		}
		for j := i; j < 3; j++ {
			fs = append(fs, func() int { return i*10 + j })
		}
	}
	for _, f := range fs {
		fmt.Println(f())
	}
}
