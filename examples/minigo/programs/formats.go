// What fmt, strconv, strings and errors make of rare values, flags and mistakes.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

type level int

func (l level) String() string { return "level" + strconv.Itoa(int(l)) }

type small uint8

type point struct{ X, Y int }

func (p *point) String() string { return fmt.Sprint(p.X, ",", p.Y) }

type broken struct{}

func (broken) Error() string { panic("no text") }

type goer struct{}

func (goer) GoString() string { return "goer!" }

type mixed struct {
	L      level
	l      level
	Err    error
	Any    any
	Points []point
	Where  *point
	ByName map[string]any
}

func main() {
	values := []any{42, -7, uint8(200), small(3), 'é', "h\x00é", []byte("ab"), []small{1, 2}, []small{}, [2]bool{true},
		2.5, float32(0.1), -1e21, 1e-7, nil, true, level(2), (*point)(nil), errors.New("wrong"), map[string]int{"b": 1, "a": -2},
		[]any{1, "x", nil}, struct{}{}, &[]int{1}, goer{}, mixed{L: 1, l: 2, ByName: map[string]any{"k": nil}}}
	for _, format := range []string{"%v", "%+v", "%#v", "%8d", "%-5s|", "%08.3f", "%x", "%#X", "%+q", "%#q", "%U", "%#U", "%c",
		"%o", "%O", "%#b", "%t", "%e", "%G", "%.3g", "% x", "%+.2e", "%06d", "%5.1s|", "%w", "%T"} {
		fmt.Printf(format, values[0])
		for _, v := range values[1:] {
			fmt.Printf(" "+format, v)
		}
		fmt.Println()
	}
	fmt.Printf("%[2]d %[1]d %d|%[3]*.[2]*[1]f|%[5]d %[x]d|%*d|%-*d|%.*f\n", 1, 2, 8)
	fmt.Printf("%*d|%-*d|%.*f|%*d|%d %s %", 4, 1, 4, 2, 1, 2.55, "w", 3, 4)
	fmt.Printf("%!|%z %d\n", 1, 2, "extra", nil)
	fmt.Println(broken{}, (*point)(nil), []fmt.Stringer{nil, level(1)})
	fmt.Print("a", 1, 2, "b", nil, nil, level(1), "\n")

	for _, bits := range []int{32, 64} {
		for _, f := range []float64{0, 0.1, -1.0 / 3, 1e21, 123456789, 5e-324} {
			for _, format := range []byte("eEfgGbxX?") {
				fmt.Print(strconv.FormatFloat(f, format, -1, bits), " ", strconv.FormatFloat(f, format, 3, bits), " ")
			}
			fmt.Println()
		}
	}
	fmt.Println(strconv.Quote("\u00ad\u2028\U0010ffff\xf0é\a"), strconv.QuoteToASCII("é☺"), strconv.QuoteRune(-1))
	func() {
		defer func() { fmt.Println(recover()) }()
		strconv.FormatInt(1, 1)
	}()

	for _, s := range []string{"", "aXbX", "é\xff☺", " \u2003x\u0085"} {
		fmt.Printf("%q %q %d %d %q %q\n", strings.Split(s, ""), strings.Split(s, "X"), strings.Count(s, ""), strings.Count(s, "X"),
			strings.Replace(s, "", "-", 2), strings.TrimSpace(s))
	}
	fmt.Println(strings.ToUpper("ßǆᾳ\u1f80ı"), strings.ToLower("İΣẞ"), strings.Split("", "") == nil)
	func() {
		defer func() { fmt.Println(recover()) }()
		strings.Repeat("ab", 1<<62)
	}()

	first, second := errors.New("first"), io.EOF
	for _, err := range []error{fmt.Errorf("%w", first), fmt.Errorf("%w and %w", first, second), fmt.Errorf("%w", 5),
		fmt.Errorf("%d: %w", 1, fmt.Errorf("%w, %w", second, first)), fmt.Errorf("%w %w", nil, second)} {
		fmt.Printf("%v %T %v %v %v\n", err, err, errors.Unwrap(err), errors.Is(err, first), errors.Is(err, second))
	}
	_, err := os.Open("none\x00")
	_, isPath := err.(*fs.PathError)
	fmt.Printf("%q %T %v\n", err, err, isPath)
	_, err = os.CreateTemp("", "a/b")
	fmt.Println(err, os.Remove("/none/none"), errors.Is(os.Remove("/none"), fs.ErrNotExist))
}
