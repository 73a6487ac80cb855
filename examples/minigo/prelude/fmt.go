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
type GoStringer interface{ GoString() string }

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

type wrapError struct {
	text string
	err  error
}

func (w *wrapError) Error() string { return w.text }
func (w *wrapError) Unwrap() error { return w.err }

type wrapErrors struct {
	text   string
	errors []error
}

func (w *wrapErrors) Error() string   { return w.text }
func (w *wrapErrors) Unwrap() []error { return w.errors }

func Errorf(format string, a ...any) error {
	p := &printer{wraps: true, wrapped: make([]bool, len(a))}
	p.format(format, a)
	text := string(p.out)
	switch p.count {
	case 0:
		return errors.New(text)
	case 1:
		for i, v := range a {
			if p.wrapped[i] {
				err, _ := v.(error)
				return &wrapError{text, err}
			}
		}
	}
	w := &wrapErrors{text: text}
	for i, v := range a {
		if err, ok := v.(error); ok && p.wrapped[i] {
			w.errors = append(w.errors, err)
		}
	}
	return w
}

type flags struct {
	plus, minus, sharp, space, zero bool
	// %+v and %#v, which mean nothing for the numbers and text inside.
	plusV, sharpV          bool
	hasWidth, hasPrecision bool
	width, precision       int
}

// printer prints values to out.
type printer struct {
	out []byte
	flags
	// Values are printed without their methods, as their verb is wrong.
	erroring bool
	// The value of a method's panic is printed.
	panicking bool
	// Arguments have been chosen by their numbers, the last one by a wrong one.
	reordered, wrong bool
	// For Errorf: which arguments are for a %w, and how many %w there are.
	wraps   bool
	wrapped []bool
	count   int
}

// joined has a space between all values, or between those of which none is text.
func joined(a []any, line bool) []byte {
	p := &printer{}
	wasText := true
	for i, v := range a {
		isText := value.Kind(v) == value.String
		if i > 0 && (line || !wasText && !isText) {
			p.write(" ")
		}
		wasText = isText
		p.argument(v, 'v')
	}
	if line {
		p.write("\n")
	}
	return p.out
}

func formatted(format string, a []any) []byte {
	p := &printer{}
	p.format(format, a)
	return p.out
}

func (p *printer) format(format string, a []any) {
	next := 0
	for {
		at := strings.IndexByte(format, '%')
		if at < 0 {
			p.write(format)
			break
		}
		p.write(format[:at])
		format, next = p.options(format[at+1:], a, next)
		if format == "" {
			p.write("%!(NOVERB)")
			break
		}
		verb, size := first(format)
		format = format[size:]
		switch {
		case verb == '%':
			p.write("%")
			continue
		case p.wrong:
			p.write("%!" + string(verb) + "(BADINDEX)")
			continue
		case next >= len(a):
			p.write("%!" + string(verb) + "(MISSING)")
			continue
		case verb == 'w' || verb == 'v':
			if verb == 'w' && p.wraps {
				p.wrapped[next] = true
				p.count++
			}
			p.plusV, p.sharpV = p.plus, p.sharp
			p.plus, p.sharp = false, false
		}
		p.argument(a[next], verb)
		next++
	}
	if p.reordered || next >= len(a) {
		return
	}
	p.flags = flags{}
	p.write("%!(EXTRA ")
	for i, v := range a[next:] {
		if i > 0 {
			p.write(", ")
		}
		if v != nil {
			p.write(value.TypeName(v) + "=")
		}
		p.argument(v, 'v')
	}
	p.write(")")
}

// first is the first character of a text, and its bytes.
func first(s string) (rune, int) {
	size := len(s)
	for i := range s {
		if i > 0 {
			size = i
			break
		}
	}
	return []rune(s[:size])[0], size
}

// options reads what is between % and the verb: returns the rest, and the next argument.
func (p *printer) options(format string, a []any, next int) (string, int) {
	p.flags = flags{}
	p.wrong = false
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
	chosen := false
	format, next, chosen = p.choose(format, a, next)
	if format != "" && format[0] == '*' {
		p.width, p.hasWidth, next = fromArgument(a, next)
		if !p.hasWidth {
			p.write("%!(BADWIDTH)")
		}
		if p.width < 0 {
			p.width, p.minus, p.zero = -p.width, true, false
		}
		format, chosen = format[1:], false
	} else {
		p.width, p.hasWidth, format = number(format)
		p.wrong = p.wrong || chosen && p.hasWidth
	}
	if len(format) > 1 && format[0] == '.' {
		p.wrong = p.wrong || chosen
		format, next, chosen = p.choose(format[1:], a, next)
		if format != "" && format[0] == '*' {
			p.precision, p.hasPrecision, next = fromArgument(a, next)
			if p.precision < 0 {
				p.precision, p.hasPrecision = 0, false
			}
			if !p.hasPrecision {
				p.write("%!(BADPREC)")
			}
			format, chosen = format[1:], false
		} else {
			p.precision, _, format = number(format)
			p.hasPrecision = true
		}
	}
	if !chosen {
		format, next, _ = p.choose(format, a, next)
	}
	return format, next
}

const most = 1000000

// number reads a width or precision, if there is one.
func number(format string) (n int, found bool, rest string) {
	for format != "" && '0' <= format[0] && format[0] <= '9' {
		if n > most {
			return 0, false, ""
		}
		n, found = n*10+int(format[0]-'0'), true
		format = format[1:]
	}
	return n, found, format
}

// fromArgument takes a width or precision from the arguments.
func fromArgument(a []any, next int) (n int, found bool, after int) {
	if next >= len(a) {
		return 0, false, next
	}
	bits := value.Bits(a[next])
	switch value.Kind(a[next]) {
	case value.Int:
		found = true
	case value.Uint:
		found = int64(bits) >= 0
	}
	n = int(bits)
	if !found || n > most || n < -most {
		n, found = 0, false
	}
	return n, found, next + 1
}

// choose reads the number of an argument in brackets, if there is one.
func (p *printer) choose(format string, a []any, next int) (rest string, chosen int, found bool) {
	if format == "" || format[0] != '[' {
		return format, next, false
	}
	p.reordered = true
	end := strings.IndexByte(format, ']')
	if end < 0 || len(format) < 3 {
		p.wrong = true
		return format[1:], next, false
	}
	n, is, after := number(format[1:end])
	if is = is && after == ""; is && 1 <= n && n <= len(a) {
		return format[end+1:], n - 1, true
	}
	p.wrong = true
	return format[end+1:], next, is
}

func (p *printer) write(s string) { p.out = append(p.out, s...) }

func (p *printer) padding(n int) {
	fill := byte(' ')
	if p.zero && !p.minus {
		fill = '0'
	}
	for range n {
		p.out = append(p.out, fill)
	}
}

// pad prints text at the width that is wanted.
func (p *printer) pad(s string) {
	missing := p.width
	if missing > 0 {
		for range s {
			missing--
		}
	}
	if !p.minus {
		p.padding(missing)
	}
	p.write(s)
	if p.minus {
		p.padding(missing)
	}
}

// padNumber is pad without zeros: they are there already.
func (p *printer) padNumber(s string) {
	zero := p.zero
	p.zero = false
	p.pad(s)
	p.zero = zero
}

// bad prints a value whose verb is not for it.
func (p *printer) bad(v any, verb rune) {
	p.erroring = true
	p.write("%!" + string(verb) + "(")
	if v != nil {
		p.write(value.TypeName(v) + "=")
		p.argument(v, 'v')
	} else {
		p.write("<nil>")
	}
	p.write(")")
	p.erroring = false
}

func (p *printer) argument(v any, verb rune) {
	_, isBytes := v.([]byte)
	switch {
	case v == nil && (verb == 'T' || verb == 'v'):
		p.pad("<nil>")
	case v == nil:
		p.bad(v, verb)
	case verb == 'T':
		p.text(v, value.TypeName(v), 's')
	case verb == 'p':
		p.pointer(v, verb)
	case isBytes || !p.method(v, verb):
		p.value(v, verb, 0, true)
	}
}

// value prints a value that is depth levels inside others; by its own methods, if these are open
// to fmt.
func (p *printer) value(v any, verb rune, depth int, open bool) {
	if depth > 0 && open && p.method(v, verb) {
		return
	}
	switch value.Kind(v) {
	case value.Bool:
		if verb != 'v' && verb != 't' {
			p.bad(v, verb)
		} else {
			p.pad(strconv.FormatBool(value.Bits(v) != 0))
		}
	case value.Int:
		p.integer(v, value.Bits(v), true, verb)
	case value.Uint:
		p.integer(v, value.Bits(v), false, verb)
	case value.Float:
		p.float(v, verb)
	case value.String:
		p.text(v, value.AsString(v), verb)
	case value.Map:
		if !p.begin(v, "map[", value.Word(v) == 0, false) {
			return
		}
		for i, entry := range sorted(v) {
			p.between(i)
			p.part(v, value.Entry(v, entry, 0), 0, verb, depth, open)
			p.write(":")
			p.part(v, value.Entry(v, entry, 1), 1, verb, depth, open)
		}
		p.end("]")
	case value.Struct:
		p.begin(v, "{", false, false)
		for i := range value.Len(v) {
			p.between(i)
			name := value.Field(v, i)
			if p.plusV || p.sharpV {
				p.write(name + ":")
			}
			c, _ := first(name)
			open := open && strings.ToUpper(string(c)) == string(c) && c != '_'
			p.part(v, value.Part(v, i), i, verb, depth, open)
		}
		p.write("}")
	case value.Slice, value.Array:
		if p.isText(v, verb) {
			return
		}
		isNil := value.Kind(v) == value.Slice && value.Word(v) == 0
		if !p.begin(v, "[", isNil, depth == 0 && verb != 'w') {
			return
		}
		for i := range value.Len(v) {
			p.between(i)
			p.part(v, value.Part(v, i), i, verb, depth, open)
		}
		p.end("]")
	case value.Pointer:
		if depth == 0 && value.Len(v) > 0 {
			switch to := value.Part(v, 0); value.Kind(to) {
			case value.Array, value.Slice, value.Struct, value.Map:
				p.write("&")
				p.value(to, verb, depth+1, open)
				return
			}
		}
		p.pointer(v, verb)
	default:
		p.pointer(v, verb)
	}
}

// part prints a part of a value, which has a type of its own if it is a nil interface.
func (p *printer) part(of, part any, i int, verb rune, depth int, open bool) {
	switch {
	case part != nil:
		p.value(part, verb, depth+1, open)
	case p.sharpV:
		name, _ := value.PartType(of, i)
		p.write(name + "(nil)")
	default:
		p.write("<nil>")
	}
}

// begin prints what is in front of the parts; false: that is all.
func (p *printer) begin(v any, bracket string, isNil, isBytes bool) bool {
	if !p.sharpV {
		p.write(bracket)
		return true
	}
	name := value.TypeName(v)
	if isBytes && name == "[]uint8" {
		name = "[]byte"
	}
	p.write(name)
	if isNil {
		p.write("(nil)")
	} else {
		p.write("{")
	}
	return !isNil
}

func (p *printer) between(i int) {
	switch {
	case i == 0:
	case p.sharpV:
		p.write(", ")
	default:
		p.write(" ")
	}
}

func (p *printer) end(bracket string) {
	if p.sharpV {
		bracket = "}"
	}
	p.write(bracket)
}

// method prints a value by its method Error or String, if the verb wants text and there is one.
func (p *printer) method(v any, verb rune) bool {
	if p.erroring {
		return false
	}
	err, isError := v.(error)
	if verb == 'w' {
		if !isError || !p.wraps {
			p.bad(v, verb)
			return true
		}
		verb = 'v'
	}
	if p.sharpV {
		if m, ok := v.(GoStringer); ok {
			p.calls(v, 's', verb, "GoString", m.GoString)
			return true
		}
		return false
	}
	switch verb {
	case 'v', 's', 'x', 'X', 'q':
		if isError {
			p.calls(v, verb, verb, "Error", err.Error)
			return true
		}
		if m, ok := v.(Stringer); ok {
			p.calls(v, verb, verb, "String", m.String)
			return true
		}
	}
	return false
}

func (p *printer) calls(v any, verb, shown rune, name string, method func() string) {
	defer func() {
		err := recover()
		if err == nil {
			return
		}
		if value.Kind(v) == value.Pointer && value.Word(v) == 0 {
			p.write("<nil>")
			return
		}
		if p.panicking {
			panic(err)
		}
		old := p.flags
		p.flags = flags{}
		p.write("%!" + string(shown) + "(PANIC=" + name + " method: ")
		p.panicking = true
		p.argument(err, 'v')
		p.panicking = false
		p.write(")")
		p.flags = old
	}()
	p.text(v, method(), verb)
}

// text prints what a value is as text.
func (p *printer) text(v any, s string, verb rune) {
	switch verb {
	case 'v', 's':
		s = p.cut(s)
		if verb == 'v' && p.sharpV {
			s = p.quoted(s)
		}
		p.pad(s)
	case 'q':
		p.pad(p.quoted(p.cut(s)))
	case 'x', 'X':
		if p.hasPrecision && p.precision < len(s) {
			s = s[:p.precision]
		}
		digits := ""
		for i := range len(s) {
			if i > 0 && p.space {
				digits += " "
			}
			if p.sharp && (i == 0 || p.space) {
				digits += "0x"
			}
			digits += strconv.FormatUint(uint64(s[i])|0x100, 16)[1:]
		}
		p.pad(cased(digits, verb))
	default:
		p.bad(v, verb)
	}
}

// cut leaves as many characters as the precision says.
func (p *printer) cut(s string) string {
	left := p.precision
	for i := range s {
		if p.hasPrecision && left == 0 {
			return s[:i]
		}
		left--
	}
	return s
}

func (p *printer) quoted(s string) string {
	switch {
	case p.sharp && strconv.CanBackquote(s):
		return "`" + s + "`"
	case p.plus:
		return strconv.QuoteToASCII(s)
	}
	return strconv.Quote(s)
}

func cased(digits string, verb rune) string {
	if verb == 'X' {
		return strings.ToUpper(digits)
	}
	return digits
}

// isText prints bytes as text, if the verb says so.
func (p *printer) isText(v any, verb rune) bool {
	switch verb {
	case 's', 'q', 'x', 'X':
		if _, bytes := value.PartType(v, 0); !bytes {
			return false
		}
		text := make([]byte, value.Len(v))
		for i := range text {
			text[i] = byte(value.Bits(value.Part(v, i)))
		}
		p.text(v, string(text), verb)
		return true
	}
	return false
}

// pointer prints an address.
func (p *printer) pointer(v any, verb rune) {
	switch value.Kind(v) {
	case value.Other, value.Pointer, value.Map, value.Slice:
	default:
		p.bad(v, verb)
		return
	}
	at := uint64(value.Word(v))
	switch verb {
	case 'v', 'p':
		switch {
		case verb == 'p' || at != 0 && !p.sharpV:
			p.address(at, !p.sharp)
		case !p.sharpV:
			p.pad("<nil>")
		default:
			p.write("(" + value.TypeName(v) + ")(")
			if at == 0 {
				p.write("nil")
			} else {
				p.address(at, true)
			}
			p.write(")")
		}
	case 'b', 'o', 'd', 'x', 'X':
		p.integer(v, at, false, verb)
	default:
		p.bad(v, verb)
	}
}

func (p *printer) address(at uint64, prefix bool) {
	sharp := p.sharp
	p.sharp = prefix
	p.digits(at, false, 16, 'v')
	p.sharp = sharp
}

func (p *printer) integer(v any, n uint64, signed bool, verb rune) {
	switch verb {
	case 'v', 'd':
		if verb == 'v' && p.sharpV && !signed {
			p.address(n, true)
		} else {
			p.digits(n, signed, 10, verb)
		}
	case 'b':
		p.digits(n, signed, 2, verb)
	case 'o', 'O':
		p.digits(n, signed, 8, verb)
	case 'x', 'X':
		p.digits(n, signed, 16, verb)
	case 'c', 'q', 'U':
		r := rune(min(n, 0x110000))
		switch {
		case verb == 'c':
			p.pad(string(r))
		case verb == 'q' && p.plus:
			p.pad(strconv.QuoteRuneToASCII(r))
		case verb == 'q':
			p.pad(strconv.QuoteRune(r))
		default:
			digits := strings.ToUpper(strconv.FormatUint(n, 16))
			zeros := strings.Repeat("0", max(max(p.precision, 4)-len(digits), 0))
			shown := ""
			if p.sharp && strconv.IsPrint(r) {
				shown = " '" + string(r) + "'"
			}
			p.padNumber("U+" + zeros + digits + shown)
		}
	default:
		p.bad(v, verb)
	}
}

func (p *printer) digits(n uint64, signed bool, base int, verb rune) {
	sign := ""
	switch {
	case signed && int64(n) < 0:
		n, sign = -n, "-"
	case p.plus:
		sign = "+"
	case p.space:
		sign = " "
	}
	wanted := p.precision
	switch {
	case p.hasPrecision && wanted == 0 && n == 0:
		p.padNumber("")
		return
	case !p.hasPrecision && p.zero && !p.minus:
		wanted = p.width - len(sign)
	}
	digits := strconv.FormatUint(n, base)
	digits = strings.Repeat("0", max(wanted-len(digits), 0)) + digits
	switch {
	case !p.sharp:
	case base == 2:
		digits = "0b" + digits
	case base == 8 && digits[0] != '0':
		digits = "0" + digits
	case base == 16:
		digits = "0x" + digits
	}
	if verb == 'O' {
		digits = "0o" + digits
	}
	p.padNumber(sign + cased(digits, verb))
}

func (p *printer) float(v any, verb rune) {
	format, precision := verb, -1
	switch verb {
	case 'v':
		format = 'g'
	case 'b', 'g', 'G', 'x', 'X':
	case 'e', 'E', 'f':
		precision = 6
	case 'F':
		format, precision = 'f', 6
	default:
		p.bad(v, verb)
		return
	}
	if p.hasPrecision {
		precision = p.precision
	}
	digits := strconv.FormatFloat(value.AsFloat(v), byte(format), precision, 8*value.Size(v))
	sign := "+"
	if digits[0] == '-' || digits[0] == '+' {
		sign, digits = digits[:1], digits[1:]
	}
	if p.space && sign == "+" && !p.plus {
		sign = " "
	}
	if digits == "Inf" || digits == "NaN" {
		if digits == "NaN" && !p.space && !p.plus {
			sign = ""
		}
		p.padNumber(sign + digits)
		return
	}
	if p.sharp && format != 'b' {
		digits = withPoint(digits, byte(format), precision)
	}
	if sign == "+" && !p.plus {
		sign = ""
	}
	if p.zero && !p.minus && sign != "" {
		p.write(sign)
		p.width = max(p.width-len(sign), 0)
		p.pad(digits)
		p.width += len(sign)
		return
	}
	p.pad(sign + digits)
}

// withPoint is a number as %# has it: with a point, and with the zeros that %g leaves out.
func withPoint(digits string, format byte, precision int) string {
	wanted := 0
	switch format {
	case 'g', 'G', 'x':
		wanted = precision
		if wanted == -1 {
			wanted = 6
		}
	}
	exponents := "eE"
	if format == 'x' || format == 'X' {
		exponents = "pP"
	}
	end, point, counts := len(digits), false, false
	for i := range len(digits) {
		c := digits[i]
		if c == exponents[0] || c == exponents[1] {
			end = i
			break
		}
		if c == '.' {
			point = true
			continue
		}
		counts = counts || c != '0'
		if counts {
			wanted--
		}
	}
	tail, middle := digits[end:], ""
	digits = digits[:end]
	if !point {
		if digits == "0" {
			wanted--
		}
		middle = "."
	}
	return digits + middle + strings.Repeat("0", max(wanted, 0)) + tail
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
