// Constants are exact, and rounded where they become values.
package main

import "fmt"

const (
	A             = 0.1 + 0.2
	B             = 1.0 / 3
	Third         = 1.0 / 3.0 * 3.0
	Big           = 1e300 * 1e300 / 1e300
	Hex           = 0x1.8p3
	H2            = 0x.8p+1
	F32           = float32(0.1)
	F64   float64 = 0.1
	Sum           = F64 + 0.2
	Huge          = 1 << 100
	Part          = Huge >> 98
	Fl            = 1e18
	I     int64   = 1e18
	Pi            = 3.14159265358979323846264338327950288419716939937510582097494459
	Small         = 1e-1000
	Min           = 4.940656458412465441765687928682213723651e-324
	Max           = 1.79769313486231570814527423731704356798070e+308
	M32           = 3.40282346638528859811704183484516925440e+38
	Q             = 5 / 2
	R             = 5 / 2.0
	Neg           = -0.0
	Shift         = 1.0 << 3
	Rune          = 'a' + 1.0
)

func main() {
	fmt.Println(A, B, Third == 1, Big, Hex, H2, F32, Sum, Part, Fl, I, Pi, Small, Min, Max, Q, R, Neg, Shift, Rune)
	fmt.Println(float32(M32), A == 0.3, F64+0.2, float32(0.1)+0.2, Pi*1e10)
	var x float64 = 0.1
	fmt.Println(x+0.2, x*3, float32(x), float32(16777217.0), float32(1.00000017881393432617187499))
	var f float32 = 1.00000017881393421514957253748434595763683319091796875001
	fmt.Println(f, 1/3.0, 2.0/3, 100*1.1, 100*1.1 == 110, int(100*1.1))
	fmt.Println(1_000.5e-1, 0x_1p-2, 0b101, 0o17, 017, 1e3, .5, 5., 08.5)
	fmt.Println(len([3]int{}), min(1, 2.5), max(1.5, 2), min(0.1+0.2, 0.3))
	const c = 0.5
	var d = c * 4
	e := 7 / 2 * 2.0
	fmt.Printf("%T %v %T %v %v\n", d, d, e, e, 7/2*2.0)
	var i8 int8 = 1.0 * 100
	fmt.Println(i8, uint8(255.0), 'x'*1.0, 1.5e1)
	fmt.Println(9007199254740993.0, 0.1e1, 123456789012345678901234567890.0)
}
