// Package value takes apart values of any type, for the packages that print them.
package value

// What a type is made from.
const (
	Other = iota
	Bool
	Int
	Uint
	Float
	String
	Pointer
	Slice
	Array
	Map
	Struct
)

func look(v any) (kind, size int, bits uint64, word uintptr, parts int)

func Kind(v any) int {
	kind, _, _, _, _ := look(v)
	return kind
}

// Size is the bytes of a value.
func Size(v any) int {
	_, size, _, _, _ := look(v)
	return size
}

// Bits are those of a truth or of a number, made longer with its sign.
func Bits(v any) uint64 {
	_, _, bits, _, _ := look(v)
	return bits
}

// Word is the address that a pointer, map, channel or function is, or where a slice begins.
func Word(v any) uintptr {
	_, _, _, word, _ := look(v)
	return word
}

// Len is the number of elements or fields; a pointer that is not nil has one.
func Len(v any) int {
	_, _, _, _, parts := look(v)
	return parts
}

func AsFloat(v any) float64
func AsString(v any) string

// TypeName is what %T prints.
func TypeName(v any) string

// IsNamed is whether a program or package has declared the type, which is one of numbers or text.
func IsNamed(v any) bool {
	name := TypeName(v)
	for i := range len(name) {
		if name[i] == '.' {
			return true
		}
	}
	return false
}

// Part is an element, a field, or what a pointer points to.
func Part(v any, i int) any

// PartType is the name of the type that parts have by themselves, and whether it is a byte; those of
// a map are its keys, 0, and its values, 1.
func PartType(v any, i int) (name string, isByte bool)

// Field is the name of a field.
func Field(v any, i int) string

// Next is the number of the next entry of a map after one, the first one after 0; 0: no more.
func Next(m any, after int) int

// Entry is the key of an entry, which is 0, or its value, 1.
func Entry(m any, number, which int) any
