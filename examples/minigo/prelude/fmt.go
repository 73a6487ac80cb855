package fmt

import (
	"errors"
	"internal/value"
	"io"
	"os"
	"strconv"
	"strings"
)

type Stringer interface{ String() string }

func Fprint(w io.Writer, a ...any) (n int, err error)   { return w.Write(joined(a, false)) }
func Fprintln(w io.Writer, a ...any) (n int, err error) { return w.Write(joined(a, true)) }
func Fprintf(w io.Writer, format string, a ...any) (n int, err error) {
	return w.Write(formatted(format, a))
}

func Print(a ...any) (n int, err error)   { return os.Stdout.Write(joined(a, false)) }
func Println(a ...any) (n int, err error) { return os.Stdout.Write(joined(a, true)) }
func Printf(format string, a ...any) (n int, err error) {
	return os.Stdout.Write(formatted(format, a))
}

func Sprint(a ...any) string                 { return string(joined(a, false)) }
func Sprintln(a ...any) string               { return string(joined(a, true)) }
func Sprintf(format string, a ...any) string { return string(formatted(format, a)) }

type wrapped struct {
	text string
	err  error
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.err }

func Errorf(format string, a ...any) error {
	text := Sprintf(format, a...)
	n := 0
	for i := 0; i+1 < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		i++
		if format[i] == 'w' && n < len(a) {
			if err, ok := a[n].(error); ok {
				return &wrapped{text, err}
			}
		}
		if format[i] != '%' {
			n++
		}
	}
	return errors.New(text)
}

// printer prints values to out, as a verb with its flags says.
type printer struct {
	out                             []byte
	verb                            byte
	plus, minus, sharp, space, zero bool
	// Fields are printed with their names: %+v.
	names bool
	// Text is printed in quotes: %#v.
	quotes bool
	// None if it is negative.
	width, precision int
}

// joined has a space between all values, or between those of which none is text.
func joined(a []any, line bool) []byte {
	p := &printer{verb: 'v', precision: -1}
	wasText := true
	for i, v := range a {
		isText := value.Kind(v) == value.String
		if i > 0 && (line || !wasText && !isText) {
			p.write(" ")
		}
		wasText = isText
		p.value(v, 0, true)
	}
	if line {
		p.write("\n")
	}
	return p.out
}

func formatted(format string, a []any) []byte {
	p := &printer{}
	next := 0
	for {
		at := strings.Index(format, "%")
		if at < 0 {
			p.write(format)
			break
		}
		p.write(format[:at])
		format = p.flags(format[at+1:], a, &next)
		if format == "" {
			p.write("%!(NOVERB)")
			break
		}
		verb := format[0]
		format = format[1:]
		p.verb = verb
		if verb == '%' {
			p.write("%")
			continue
		}
		if next >= len(a) {
			p.write("%!" + string(rune(verb)) + "(MISSING)")
			continue
		}
		if verb == 'w' {
			p.verb = 'v'
		}
		if p.verb == 'v' {
			p.names, p.quotes = p.plus, p.sharp
			p.plus, p.sharp = false, false
		}
		p.value(a[next], 0, true)
		next++
	}
	if next < len(a) {
		p.flags("", nil, nil)
		p.verb = 'v'
		p.write("%!(EXTRA ")
		for i, v := range a[next:] {
			if i > 0 {
				p.write(", ")
			}
			if v != nil {
				p.write(value.TypeName(v) + "=")
			}
			p.value(v, 0, true)
		}
		p.write(")")
	}
	return p.out
}

// flags reads what is before a verb, and returns the rest.
func (p *printer) flags(format string, a []any, next *int) string {
	p.plus, p.minus, p.sharp, p.space, p.zero = false, false, false, false, false
	p.names, p.quotes = false, false
	p.width, p.precision = -1, -1
flags:
	for format != "" {
		switch format[0] {
		case '+':
			p.plus = true
		case '-':
			p.minus = true
		case '#':
			p.sharp = true
		case ' ':
			p.space = true
		case '0':
			p.zero = true
		default:
			break flags
		}
		format = format[1:]
	}
	p.width, format = number(format, a, next)
	if p.width < -1 {
		p.width, p.minus = -p.width, true
	}
	if format != "" && format[0] == '.' {
		p.precision, format = number(format[1:], a, next)
		if p.precision < 0 {
			p.precision = 0
		}
	}
	return format
}

// number reads a width or precision; -1: there is none.
func number(format string, a []any, next *int) (int, string) {
	if format != "" && format[0] == '*' && *next < len(a) {
		n, _ := a[*next].(int)
		*next++
		return n, format[1:]
	}
	n := -1
	for format != "" && '0' <= format[0] && format[0] <= '9' {
		n = max(n, 0)*10 + int(format[0]-'0')
		format = format[1:]
	}
	return min(n, 1<<16), format
}

func (p *printer) write(s string) { p.out = append(p.out, s...) }

// pad prints text at the width that is wanted.
func (p *printer) pad(s string, zeros bool) {
	missing := 0
	if p.width > 0 {
		missing = max(p.width-len([]rune(s)), 0)
	}
	fill := " "
	if zeros && p.zero && !p.minus {
		fill = "0"
	}
	if p.minus {
		p.write(s + strings.Repeat(fill, missing))
	} else {
		p.write(strings.Repeat(fill, missing) + s)
	}
}

// bad prints a value whose verb is not for it.
func (p *printer) bad(v any) {
	p.write("%!" + string(rune(p.verb)) + "(")
	if v != nil {
		verb := p.verb
		p.verb = 'v'
		p.write(value.TypeName(v) + "=")
		p.value(v, 1, false)
		p.verb = verb
	} else {
		p.write("<nil>")
	}
	p.write(")")
}

// value prints a value that is depth levels inside others; by its own methods, if these are open
// to fmt.
func (p *printer) value(v any, depth int, methods bool) {
	if v == nil {
		if depth == 0 && p.verb != 'v' && p.verb != 'T' {
			p.bad(v)
		} else {
			p.pad("<nil>", true)
		}
		return
	}
	if depth == 0 && p.verb == 'T' {
		p.pad(value.TypeName(v), true)
		return
	}
	if depth == 0 && p.verb == 'p' {
		p.pointer(v)
		return
	}
	if methods && p.hasMethod(v) {
		return
	}
	switch kind := value.Kind(v); kind {
	case value.Bool:
		if p.verb != 'v' && p.verb != 't' {
			p.bad(v)
		} else {
			p.pad(strconv.FormatBool(value.Bits(v) != 0), true)
		}
	case value.Int:
		p.integer(v, true)
	case value.Uint:
		p.integer(v, false)
	case value.Float:
		p.float(v)
	case value.String:
		p.text(v, value.AsString(v))
	case value.Map:
		p.write("map[")
		for i, entry := range sorted(v) {
			if i > 0 {
				p.write(" ")
			}
			p.value(value.Entry(v, entry, 0), depth+1, methods)
			p.write(":")
			p.value(value.Entry(v, entry, 1), depth+1, methods)
		}
		p.write("]")
	case value.Struct:
		p.write("{")
		for i := range value.Len(v) {
			if i > 0 {
				p.write(" ")
			}
			name := value.Field(v, i)
			if p.names {
				p.write(name + ":")
			}
			open := methods && (name[0] >= 'A' && name[0] <= 'Z' || name[0] >= 0x80)
			p.value(value.Part(v, i), depth+1, open)
		}
		p.write("}")
	case value.Slice, value.Array:
		if p.isText(v) {
			return
		}
		p.write("[")
		for i := range value.Len(v) {
			if i > 0 {
				p.write(" ")
			}
			p.value(value.Part(v, i), depth+1, methods)
		}
		p.write("]")
	case value.Pointer:
		if depth == 0 && value.Len(v) > 0 {
			switch to := value.Part(v, 0); value.Kind(to) {
			case value.Array, value.Slice, value.Struct, value.Map:
				p.write("&")
				p.value(to, depth+1, methods)
				return
			}
		}
		p.pointer(v)
	default:
		p.pointer(v)
	}
}

// hasMethod prints a value by its method Error or String, if the verb wants text and there is one.
func (p *printer) hasMethod(v any) bool {
	switch p.verb {
	case 'v', 's', 'x', 'X', 'q':
		switch m := v.(type) {
		case error:
			p.calls(v, "Error", m.Error)
			return true
		case Stringer:
			p.calls(v, "String", m.String)
			return true
		}
	}
	return false
}

func (p *printer) calls(v any, name string, method func() string) {
	defer func() {
		err := recover()
		if err == nil {
			return
		}
		if value.Kind(v) == value.Pointer && value.Word(v) == 0 {
			p.pad("<nil>", true)
			return
		}
		verb := p.verb
		p.verb = 'v'
		p.write("%!" + string(rune(verb)) + "(PANIC=" + name + " method: ")
		p.value(err, 0, true)
		p.write(")")
		p.verb = verb
	}()
	p.text(v, method())
}

func (p *printer) text(v any, s string) {
	if p.precision >= 0 && p.verb != 'v' {
		if runes := []rune(s); p.precision < len(runes) {
			s = string(runes[:p.precision])
		}
	}
	switch p.verb {
	case 'v', 's':
		if p.quotes {
			s = strconv.Quote(s)
		}
	case 'q':
		s = strconv.Quote(s)
	case 'x', 'X':
		var digits strings.Builder
		for i := range len(s) {
			digits.WriteString(strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		}
		s = p.cased(digits.String())
	default:
		p.bad(v)
		return
	}
	p.pad(s, true)
}

func (p *printer) cased(digits string) string {
	if p.verb == 'X' {
		return strings.ToUpper(digits)
	}
	return digits
}

// isText prints bytes as text, if the verb says so.
func (p *printer) isText(v any) bool {
	switch p.verb {
	case 's', 'q', 'x', 'X':
		if kind := value.TypeName(v); !strings.HasSuffix(kind, "]uint8") {
			return false
		}
		text := make([]byte, value.Len(v))
		for i := range text {
			text[i] = byte(value.Bits(value.Part(v, i)))
		}
		p.text(v, string(text))
		return true
	}
	return false
}

// pointer prints an address.
func (p *printer) pointer(v any) {
	at := uint64(value.Word(v))
	switch p.verb {
	case 'v', 'p':
		if p.verb == 'v' && at == 0 {
			p.pad("<nil>", true)
			return
		}
		verb := p.verb
		p.verb, p.sharp = 'x', !p.sharp
		p.digits(at, false, 16)
		p.verb, p.sharp = verb, !p.sharp
	case 'b', 'o', 'd', 'x', 'X':
		p.integerOf(v, at, false)
	default:
		p.bad(v)
	}
}

func (p *printer) integer(v any, signed bool) { p.integerOf(v, value.Bits(v), signed) }

func (p *printer) integerOf(v any, n uint64, signed bool) {
	negative := signed && int64(n) < 0
	size := n
	if negative {
		size = -n
	}
	switch p.verb {
	case 'v', 'd':
		p.digits(size, negative, 10)
	case 'b':
		p.digits(size, negative, 2)
	case 'o', 'O':
		p.digits(size, negative, 8)
	case 'x', 'X':
		p.digits(size, negative, 16)
	case 'c', 'q', 'U':
		r := rune(n)
		if n > 0x10ffff {
			r = 0xfffd
		}
		switch p.verb {
		case 'c':
			p.pad(string(r), true)
		case 'q':
			p.pad(strconv.QuoteRune(r), true)
		default:
			digits := strings.ToUpper(strconv.FormatUint(n, 16))
			p.pad("U+"+strings.Repeat("0", max(4-len(digits), 0))+digits, false)
		}
	default:
		p.bad(v)
	}
}

func (p *printer) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case p.plus:
		return "+"
	case p.space:
		return " "
	}
	return ""
}

func (p *printer) digits(size uint64, negative bool, base int) {
	if p.precision == 0 && size == 0 {
		p.pad("", false)
		return
	}
	digits := p.cased(strconv.FormatUint(size, base))
	sign := p.sign(negative)
	wanted := p.precision
	if wanted < 0 && p.zero && !p.minus {
		wanted = p.width - len(sign)
	}
	digits = strings.Repeat("0", max(wanted-len(digits), 0)) + digits
	switch {
	case p.verb == 'O':
		sign += "0o"
	case !p.sharp:
	case base == 2:
		sign += "0b"
	case base == 8 && digits[0] != '0':
		sign += "0"
	case base == 16:
		sign += p.cased("0x")
	}
	p.pad(sign+digits, false)
}

func (p *printer) float(v any) {
	f, bits := value.AsFloat(v), 8*value.Size(v)
	format, precision := p.verb, p.precision
	switch format {
	case 'v':
		format = 'g'
	case 'F':
		format = 'f'
	case 'e', 'f':
		if precision < 0 {
			precision = 6
		}
	case 'g':
	default:
		p.bad(v)
		return
	}
	digits := strconv.FormatFloat(f, format, precision, bits)
	negative := digits[0] == '-'
	if negative || digits[0] == '+' {
		digits = digits[1:]
	}
	sign := p.sign(negative)
	if digits == "Inf" || digits == "NaN" {
		if digits == "Inf" && !negative {
			sign = "+"
		}
		p.pad(sign+digits, false)
		return
	}
	if p.zero && !p.minus {
		digits = strings.Repeat("0", max(p.width-len(sign)-len(digits), 0)) + digits
	}
	p.pad(sign+digits, false)
}

// sorted are the entries of a map, in the order of their keys.
func sorted(m any) []int {
	var entries []int
	for entry := value.Next(m, 0); entry != 0; entry = value.Next(m, entry) {
		at := len(entries)
		entries = append(entries, entry)
		key := value.Entry(m, entry, 0)
		for at > 0 && compare(key, value.Entry(m, entries[at-1], 0)) < 0 {
			entries[at] = entries[at-1]
			at--
		}
		entries[at] = entry
	}
	return entries
}

// order is -1, 0 or 1.
func order(less, more bool) int {
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

func compare(a, b any) int {
	kind := value.Kind(a)
	if a == nil || b == nil || kind != value.Kind(b) {
		return order(kind < value.Kind(b), kind > value.Kind(b))
	}
	switch kind {
	case value.Bool, value.Uint:
		return order(value.Bits(a) < value.Bits(b), value.Bits(a) > value.Bits(b))
	case value.Int:
		x, y := int64(value.Bits(a)), int64(value.Bits(b))
		return order(x < y, x > y)
	case value.Float:
		x, y := value.AsFloat(a), value.AsFloat(b)
		return order(x < y || x != x && y == y, x > y || x == x && y != y)
	case value.String:
		x, y := value.AsString(a), value.AsString(b)
		return order(x < y, x > y)
	case value.Struct, value.Array:
		for i := range value.Len(a) {
			if by := compare(value.Part(a, i), value.Part(b, i)); by != 0 {
				return by
			}
		}
		return 0
	}
	return order(value.Word(a) < value.Word(b), value.Word(a) > value.Word(b))
}
