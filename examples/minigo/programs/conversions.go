// Constants, numbers of all widths, conversions, and text that is no UTF-8.
package main

import "fmt"

type Kind int

const (
	Zero Kind = iota
	One
	_
	Three
)

const (
	kilo, mask = 1 << (10 * (iota + 1)), 1<<iota - 1
	mega, more
)

const (
	big           = 1 << 100
	tenth float32 = 0.1
)

type Text string
type Bytes []byte

func (k Kind) name() string { return [...]string{Three: "three", Zero: "zero", One: "one"}[k] }

func main() {
	fmt.Println(Zero, One, Three, One.name(), Three.name(), kilo, mega, mask, more, big>>98)
	fmt.Println(0x1p-2, 0x1.8p+1, 0x.8p0, 0x_1Fp1, 1_000.5e-1_0, 0b11, 0o17, 017, '\x41', -0.0)
	fmt.Println(tenth, float64(tenth), tenth*3, tenth == 0.1, 'a'+1.0, 5/2*2.0, 7.0/2)
	list := []string{"a", "b", "c", "d"}
	fmt.Println(list[One], list[Three], list[One:Three], len(make([]int, Three)))
	count := uint(3)
	r, b := 'a'<<count, uint8(1<<count)
	fmt.Printf("%T %T %v %v\n", r, b, r, b)

	for _, a := range []int8{-128, -1, 7, 127} {
		for _, b := range []int8{-128, -1, 3} {
			fmt.Print(a+b, a-b, a*b, a/b, a%b, a&^b, a<<uint8(b), a>>uint8(b), uint8(a), "; ")
		}
	}
	fmt.Println()
	for _, s := range []uint64{0, 31, 32, 63, 64, 1<<64 - 1} {
		a, b, c := int32(-7), uint64(0xdeadbeefcafebabe), int16(300)
		fmt.Print(a<<s, a>>s, b<<s, b>>s, c<<s, c>>s, "; ")
	}
	fmt.Println()

	zero := 0.0
	nan, inf, minus := zero/zero, 1/zero, -zero
	fmt.Println(nan == nan, nan < 1, minus == zero, 1/minus, -inf, !(nan >= 1))
	fmt.Println(min(1, nan), max(nan, 1), 1/min(zero, minus), 1/max(minus, zero), min(2, 1.5, inf))
	fmt.Println(min("b", "a", list[2]), max(Text("x"), "y"), min(3, count), max(list[0], list[1]))
	wide := float32(16777216)
	fmt.Println(wide+1, float64(wide)+1, float32(uint64(1<<64-1)), int64(wide*-1.5))
	fields := map[float64]int{nan: 1, 0: 2}
	fields[nan], fields[minus] = 3, 4
	fmt.Println(len(fields), fields[0], fields[nan])

	for i, r := range "a\xffb\xe4\xb8\xe4\xb8\xad\xed\xa0\x80\xf0\x9f\x98\x80" {
		fmt.Print(i, " ", r, "; ")
	}
	fmt.Println()
	text := Text("é\xff中")
	fmt.Println([]byte(text), []rune(text), Bytes(text), Text([]rune(text)), text[1:2] == "\xa9")
	fmt.Println(string([]rune{65, 0x10ffff, 0x110000, -1, 0xd800}), string(rune(0x4e2d)))
	numbers := []int{1, 2, 3}
	clear(numbers[1:])
	clear(list)
	fmt.Printf("%v %q\n", numbers, list)

	fmt.Println(string(append([]byte("z"), "ab"+suffix...)))
	var pair Pointer = &Pair{1, 2}
	pair.second += 5
	fmt.Println(pair.first, (*pair).second, (*Pair)(pair).Sum())
	_, sums := any(pair).(interface{ Sum() int })
	fmt.Println(sums)
}

const suffix = "cd"

type Pair struct{ first, second int }

func (p *Pair) Sum() int { return p.first + p.second }

// Pointer has the fields of what it points to, and no methods.
type Pointer *Pair
