package strconv

import (
	"errors"
	"internal/value"
)

// decimal is a number with so many digits behind the point, and an exponent if that is wanted; or,
// if decimals is negative, with as few digits as identify it and an exponent.
func decimal(f float64, decimals, bits int, exponent bool) string

func FormatFloat(f float64, format byte, precision, bits int) string {
	switch bits {
	case 32:
		f = float64(float32(f))
	case 64:
	default:
		panic("strconv: illegal FormatFloat bitSize")
	}
	switch {
	case f != f:
		return "NaN"
	case f > 0 && f-f != 0:
		return "+Inf"
	case f-f != 0:
		return "-Inf"
	}
	switch format {
	case 'e', 'f', 'g':
		// All digits behind these are zeros.
		const most = 1100
		text := decimals(f, format, min(precision, most), bits)
		if precision <= most || format == 'g' {
			return text
		}
		end := len(text)
		for i := range len(text) {
			if text[i] == 'e' {
				end = i
			}
		}
		zeros := make([]byte, precision-most)
		for i := range zeros {
			zeros[i] = '0'
		}
		return text[:end] + string(zeros) + text[end:]
	case 'E', 'G':
		return upper(FormatFloat(f, format+'a'-'A', precision, bits))
	case 'b', 'x':
		return binary(f, format, precision, bits)
	case 'X':
		return upper(binary(f, 'x', precision, bits))
	}
	return "%" + string(rune(format))
}

func upper(text string) string {
	letters := []byte(text)
	for i, c := range letters {
		if 'a' <= c && c <= 'z' {
			letters[i] = c + 'A' - 'a'
		}
	}
	return string(letters)
}

// binary is a number by its bits, with an exponent of 2.
func binary(f float64, format byte, precision, bits int) string {
	n, size := value.Bits(f), 52
	if bits == 32 {
		n, size = value.Bits(float32(f)), 23
	}
	sign := ""
	if n>>(bits-1) != 0 {
		sign = "-"
	}
	exponents := 1<<(bits-size-1) - 1
	power := int(n>>size) & exponents
	n &= 1<<size - 1
	if power == 0 {
		power = 1
	} else {
		n |= 1 << size
	}
	power -= exponents / 2
	if format == 'b' {
		return sign + FormatUint(n, 10) + "p" + signed(power-size, 1)
	}
	if n == 0 {
		power = 0
	}
	n <<= 60 - size
	for n != 0 && n>>60 == 0 {
		n <<= 1
		power--
	}
	if precision >= 0 && precision < 15 {
		shift := precision * 4
		rest := n << shift & (1<<60 - 1)
		n >>= 60 - shift
		if rest|n&1 > 1<<59 {
			n++
		}
		n <<= 60 - shift
		if n>>61 != 0 {
			n >>= 1
			power++
		}
	}
	text := sign + "0x" + FormatUint(n>>60, 10)
	n <<= 4
	if precision > 0 || precision < 0 && n != 0 {
		text += "."
	}
	for i := 0; i < precision || precision < 0 && n != 0; i++ {
		text += FormatUint(n>>60, 16)
		n <<= 4
	}
	return text + "p" + signed(power, 2)
}

// signed is a number with its sign and at least so many digits.
func signed(n, least int) string {
	sign := "+"
	if n < 0 {
		n, sign = -n, "-"
	}
	digits := Itoa(n)
	for len(digits) < least {
		digits = "0" + digits
	}
	return sign + digits
}

// decimals is a number in the formats 'e', 'f' and 'g'.
func decimals(f float64, format byte, precision, bits int) string {
	if format == 'f' && precision >= 0 {
		return decimal(f, precision, bits, false)
	}
	behind := precision
	if format == 'g' && precision >= 0 {
		// The digit in front of the point counts too.
		behind = max(precision, 1) - 1
	}
	text := decimal(f, behind, bits, true)
	if precision < 0 {
		text = even(text, f, bits)
	}
	end := len(text)
	for text[end-1] != 'e' {
		end--
	}
	power, _ := Atoi(text[end:])
	digits := text[:end-1]
	if format == 'f' {
		return positional(digits, power)
	}
	if format == 'g' {
		digits = short(digits)
		count := len(digits)
		if count > 1 && digits[0] == '-' {
			count--
		}
		if count > 1 {
			count-- // the point
		}
		limit := behind + 1
		if behind < 0 {
			limit = 6
		} else if count < limit && count > power {
			limit = count
		}
		if power >= -4 && power < limit {
			return positional(digits, power)
		}
	}
	return digits + "e" + signed(power, 2)
}

// even is text, the fewest digits that identify a number, or, if the number is halfway between two
// such texts, the one with the even digit.
func even(text string, f float64, bits int) string {
	point, end := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '.':
			point = i
		case 'e':
			end = i
		}
	}
	behind := 0
	if point > 0 {
		behind = end - point - 1
	}
	rounded := decimal(f, behind, bits, true)
	if rounded == text {
		return text
	}
	// All of the number's digits.
	exact := decimal(f, 1100, bits, true)
	for i := range exact {
		if exact[i] == '.' {
			point = i
		}
	}
	rest := exact[point+1+behind:]
	for i := range rest {
		switch {
		case rest[i] == 'e':
			return rounded
		case i == 0 && rest[i] != '5', i > 0 && rest[i] != '0':
			return text
		}
	}
	return text
}

// positional is a number without an exponent, from the digits of one with it.
func positional(text string, power int) string {
	number := ""
	if text[0] == '-' {
		number, text = "-", text[1:]
	}
	digits := text[:1]
	if len(text) > 1 {
		digits += text[2:]
	}
	for range -power {
		digits = "0" + digits
	}
	whole := max(power, 0) + 1
	for len(digits) < whole {
		digits += "0"
	}
	if len(digits) == whole {
		return number + digits
	}
	return number + digits[:whole] + "." + digits[whole:]
}

// short leaves out zeros at the end, behind a point.
func short(digits string) string {
	point := false
	for i := range len(digits) {
		point = point || digits[i] == '.'
	}
	for point && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	if digits[len(digits)-1] == '.' {
		digits = digits[:len(digits)-1]
	}
	return digits
}

func FormatUint(n uint64, base int) string {
	if base < 2 || base > 36 {
		panic("strconv: illegal AppendInt/FormatInt base")
	}
	var digits [64]byte
	at := len(digits)
	for at == len(digits) || n > 0 {
		at--
		digits[at] = "0123456789abcdefghijklmnopqrstuvwxyz"[n%uint64(base)]
		n /= uint64(base)
	}
	return string(digits[at:])
}

func FormatInt(n int64, base int) string {
	if n < 0 {
		return "-" + FormatUint(-uint64(n), base)
	}
	return FormatUint(uint64(n), base)
}

func Itoa(n int) string { return FormatInt(int64(n), 10) }

func FormatBool(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

var (
	ErrSyntax = errors.New("invalid syntax")
	ErrRange  = errors.New("value out of range")
)

type NumError struct {
	Func string
	Num  string
	Err  error
}

func (e *NumError) Error() string {
	return "strconv." + e.Func + ": parsing " + Quote(e.Num) + ": " + e.Err.Error()
}
func (e *NumError) Unwrap() error { return e.Err }

func Atoi(s string) (int, error) {
	digits := s
	negative := s != "" && s[0] == '-'
	if negative || s != "" && s[0] == '+' {
		digits = s[1:]
	}
	n, most := 0, 1<<63-1
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, &NumError{"Atoi", s, ErrSyntax}
		}
		digit := int(c - '0')
		if n < (digit-most-1)/10 || n*10 < digit-most-1 {
			if negative {
				return -most - 1, &NumError{"Atoi", s, ErrRange}
			}
			return most, &NumError{"Atoi", s, ErrRange}
		}
		n = n*10 - digit
	}
	if digits == "" {
		return 0, &NumError{"Atoi", s, ErrSyntax}
	}
	if !negative && n == -most-1 {
		return most, &NumError{"Atoi", s, ErrRange}
	}
	if !negative {
		n = -n
	}
	return n, nil
}

// IsPrint is whether a character has a form of its own: all are escaped in quotes that have none.
func IsPrint(r rune) bool

func escaped(r rune, quote byte, ascii bool) string {
	if r == rune(quote) || r == '\\' {
		return "\\" + string(r)
	}
	if (r < 0x80 || !ascii) && IsPrint(r) {
		return string(r)
	}
	const controls = "\a\b\f\n\r\t\v"
	for i := range len(controls) {
		if r == rune(controls[i]) {
			return "\\" + "abfnrtv"[i:i+1]
		}
	}
	switch {
	case r < ' ' || r == 0x7f:
		return "\\x" + hex(int(r), 2)
	case r < 0x10000:
		return "\\u" + hex(int(r), 4)
	}
	return "\\U" + hex(int(r), 8)
}

func hex(n, width int) string {
	digits := FormatInt(int64(n), 16)
	for len(digits) < width {
		digits = "0" + digits
	}
	return digits
}

func quoted(s string, ascii bool) string {
	text := []byte{'"'}
	for i, r := range s {
		part := "\\x"
		if r == 0xfffd && s[i] != 0xef {
			part += hex(int(s[i]), 2)
		} else {
			part = escaped(r, '"', ascii)
		}
		text = append(text, part...)
	}
	return string(append(text, '"'))
}

func quotedRune(r rune, ascii bool) string {
	// What is no character is U+FFFD.
	return "'" + escaped([]rune(string(r))[0], '\'', ascii) + "'"
}

func Quote(s string) string          { return quoted(s, false) }
func QuoteToASCII(s string) string   { return quoted(s, true) }
func QuoteRune(r rune) string        { return quotedRune(r, false) }
func QuoteRuneToASCII(r rune) string { return quotedRune(r, true) }

func CanBackquote(s string) bool {
	for i, r := range s {
		switch {
		case r == 0xfffd && s[i] != 0xef, r < ' ' && r != '\t', r == '`', r == 0x7f, r == 0xfeff:
			return false
		}
	}
	return true
}
