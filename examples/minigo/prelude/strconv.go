package strconv

import "errors"

// decimal is a number with so many digits behind the point, or, if that is negative, as few digits
// as identify it; with an exponent, or as a whole.
func decimal(f float64, decimals, bits int, exponent bool) string

// FormatFloat knows the formats 'e', 'f' and 'g'.
func FormatFloat(f float64, format byte, precision, bits int) string {
	switch {
	case f != f:
		return "NaN"
	case f > 0 && f-f != 0:
		return "+Inf"
	case f-f != 0:
		return "-Inf"
	case format == 'f':
		return decimal(f, precision, bits, false)
	}
	decimals := precision
	if format == 'g' && precision >= 0 {
		// The digit in front of the point counts too.
		decimals = max(precision, 1) - 1
	}
	text := decimal(f, decimals, bits, true)
	end := len(text)
	for text[end-1] != 'e' {
		end--
	}
	power, _ := Atoi(text[end:])
	digits := text[:end-1]
	if format == 'g' {
		digits = short(digits)
		count := len(digits)
		if count > 1 && digits[0] == '-' {
			count--
		}
		if count > 1 {
			count-- // the point
		}
		limit := decimals + 1
		if decimals < 0 {
			limit = 6
		} else if count < limit && count > power {
			limit = count
		}
		if power >= -4 && power < limit {
			if decimals >= 0 {
				decimals = max(count-1-power, 0)
			}
			return decimal(f, decimals, bits, false)
		}
	}
	sign := "+"
	if power < 0 {
		sign = "-"
		power = -power
	}
	if power < 10 {
		sign += "0"
	}
	return digits + "e" + sign + Itoa(power)
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

const controls = "\a\b\f\n\r\t\v"

func escaped(r rune, quote byte) string {
	for i := range len(controls) {
		if r == rune(controls[i]) {
			return "\\" + "abfnrtv"[i:i+1]
		}
	}
	switch {
	case r == rune(quote) || r == '\\':
		return "\\" + string(r)
	case r < ' ' || r == 0x7f:
		return "\\x" + hex(int(r), 2)
	case r >= 0x80 && r < 0xa1 || r == 0xad || r == 0xfeff:
		return "\\u" + hex(int(r), 4)
	}
	return string(r)
}

func hex(n, width int) string {
	digits := FormatInt(int64(n), 16)
	for len(digits) < width {
		digits = "0" + digits
	}
	return digits
}

func Quote(s string) string {
	quoted := "\""
	for i, r := range s {
		if r == 0xfffd && s[i] != 0xef {
			quoted += "\\x" + hex(int(s[i]), 2)
		} else {
			quoted += escaped(r, '"')
		}
	}
	return quoted + "\""
}

func QuoteRune(r rune) string { return "'" + escaped(r, '\'') + "'" }
