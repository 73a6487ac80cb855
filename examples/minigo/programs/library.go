// Text, numbers as text, errors, durations, and atomic variables.
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

type NotFound struct{ name string }

func (n *NotFound) Error() string { return n.name + " not found" }
func (n *NotFound) Is(target error) bool {
	return target == ErrAny
}

var ErrAny = errors.New("any")

func main() {
	fmt.Printf("%q %q\n", strings.Fields("  a b\t\nc  "), strings.Fields(" "))
	fmt.Println(strings.Index("chicken", "ken"), strings.Index("x", "y"), strings.LastIndex("go gopher", "go"))
	fmt.Println(strings.ToUpper("héllo"), strings.ToLower("ÀB"), strings.TrimSpace(" \t x y \n"))
	fmt.Println(strings.TrimPrefix("prefix", "pre"), strings.TrimSuffix("a.go", ".go"), strings.TrimSuffix("a", "b"))
	fmt.Println(strings.HasPrefix("ab", "a"), strings.HasSuffix("ab", "c"), strings.Contains("abc", "bc"))
	fmt.Printf("%q %q %q\n", strings.Split("a,b,c", ","), strings.Split("héy", ""), strings.Split("", ","))
	fmt.Println(strings.Replace("oink oink oink", "k", "ky", 2), strings.ReplaceAll("aaa", "a", "bb"), strings.ReplaceAll("ab", "", "-"))
	fmt.Println(strings.Count("cheese", "e"), strings.Repeat("ab", 3), strings.Join([]string{"x", "y"}, "+"))
	var b strings.Builder
	b.WriteByte('a')
	b.WriteRune('é')
	b.WriteString("z")
	fmt.Println(b.String(), b.Len())

	fmt.Println(strconv.Itoa(-45), strconv.FormatInt(255, 16), strconv.FormatInt(-5, 2), strconv.Quote("a\tb\"é\x00"))
	for _, s := range []string{"12", "-7", "+3", "x", "", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"} {
		n, err := strconv.Atoi(s)
		fmt.Println(n, err)
	}
	fmt.Println(strconv.FormatFloat(1.5, 'f', 3, 64), strconv.FormatFloat(1e21, 'g', -1, 64), strconv.FormatFloat(0.1, 'e', 2, 32))

	var err error = &NotFound{"key"}
	wrapped := fmt.Errorf("outer: %w", fmt.Errorf("inner: %w", err))
	fmt.Println(wrapped, errors.Is(wrapped, err), errors.Is(wrapped, ErrAny), errors.Is(wrapped, errors.New("any")))
	fmt.Println(errors.Unwrap(wrapped), errors.Unwrap(err), errors.Is(nil, err))

	for _, d := range []time.Duration{0, 1, 1500, 2 * time.Millisecond, 1500 * time.Millisecond, time.Minute, 90 * time.Minute, -time.Second, 100 * time.Hour} {
		fmt.Print(d, " ")
	}
	fmt.Println()
	fmt.Println((1500 * time.Millisecond).Seconds(), time.Second.Milliseconds(), time.Duration(2)*time.Second)
	fmt.Printf("%v %d %s\n", time.Second, time.Second, time.Microsecond)

	var i32 atomic.Int32
	var i64 atomic.Int64
	var flag atomic.Bool
	fmt.Println(i32.Add(5), i32.CompareAndSwap(5, 9), i32.Load(), i32.Swap(1), i32.Load())
	i64.Store(1 << 40)
	fmt.Println(i64.Add(-1), i64.CompareAndSwap(3, 4), i64.Load())
	flag.Store(true)
	fmt.Println(flag.Load(), flag.CompareAndSwap(true, false), flag.Swap(true), flag.Load())
	var plain32 int32
	var plain64 int64
	fmt.Println(atomic.AddInt32(&plain32, -2), atomic.AddInt64(&plain64, 3), atomic.LoadInt32(&plain32), atomic.CompareAndSwapInt64(&plain64, 3, 8), plain64)
}
