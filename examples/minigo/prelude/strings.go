package strings

func Index(s, part string) int {
	for at := 0; at+len(part) <= len(s); at++ {
		if part == "" || s[at] == part[0] && s[at:at+len(part)] == part {
			return at
		}
	}
	return -1
}

func IndexByte(s string, c byte) int {
	for at := range len(s) {
		if s[at] == c {
			return at
		}
	}
	return -1
}

// cased is a letter in upper or lower case, or itself where that is more than one character.
func cased(r rune, upper bool) rune

// otherCase has the letters that are one character in Go's tables only.
func otherCase(r rune, upper bool) rune {
	switch {
	case !upper && r == 0x130:
		return 'i'
	case upper && r >= 0x1f80 && r <= 0x1faf:
		return r | 8
	case upper && (r == 0x1fb3 || r == 0x1fc3 || r == 0x1ff3):
		return r + 9
	}
	return cased(r, upper)
}

func Contains(s, part string) bool { return Index(s, part) >= 0 }
func HasPrefix(s, p string) bool   { return len(s) >= len(p) && s[:len(p)] == p }
func HasSuffix(s, p string) bool   { return len(s) >= len(p) && s[len(s)-len(p):] == p }

func LastIndex(s, part string) int {
	for at := len(s) - len(part); at >= 0; at-- {
		if s[at:at+len(part)] == part {
			return at
		}
	}
	return -1
}

func TrimPrefix(s, prefix string) string {
	if HasPrefix(s, prefix) {
		return s[len(prefix):]
	}
	return s
}

func TrimSuffix(s, suffix string) string {
	if HasSuffix(s, suffix) {
		return s[:len(s)-len(suffix)]
	}
	return s
}

// Count: an empty part is in front of each character and at the end.
func Count(s, part string) int {
	n := len(Split(s, part))
	if part == "" {
		return n + 1
	}
	return n - 1
}

func Replace(s, old, new string, n int) string {
	if old == new || n == 0 {
		return s
	}
	var b Builder
	if old == "" {
		for _, part := range Split(s, "") {
			if n != 0 {
				b.WriteString(new)
				n--
			}
			b.WriteString(part)
		}
		if n != 0 {
			b.WriteString(new)
		}
		return b.String()
	}
	for ; n != 0; n-- {
		i := Index(s, old)
		if i < 0 {
			break
		}
		b.WriteString(s[:i] + new)
		s = s[i+len(old):]
	}
	return b.String() + s
}

func ReplaceAll(s, old, new string) string { return Replace(s, old, new, -1) }

func Fields(s string) []string {
	all := []string{}
	start := -1
	for i, r := range s {
		switch {
		case !space(r):
			if start < 0 {
				start = i
			}
		case start >= 0:
			all = append(all, s[start:i])
			start = -1
		}
	}
	if start >= 0 {
		all = append(all, s[start:])
	}
	return all
}

func Repeat(s string, n int) string {
	if n < 0 {
		panic("strings: negative Repeat count")
	}
	if n > 0 && len(s) > (1<<63-1)/n {
		panic("strings: Repeat output length overflow")
	}
	var b Builder
	for range n {
		b.WriteString(s)
	}
	return b.String()
}

func Join(parts []string, sep string) string {
	var b Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(part)
	}
	return b.String()
}

func Split(s, sep string) []string {
	all := []string{}
	if sep == "" {
		start := 0
		for i := range s {
			if i > 0 {
				all = append(all, s[start:i])
			}
			start = i
		}
		if s != "" {
			all = append(all, s[start:])
		}
		return all
	}
	for {
		i := Index(s, sep)
		if i < 0 {
			return append(all, s)
		}
		all = append(all, s[:i])
		s = s[i+len(sep):]
	}
}

func mapped(s string, upper bool) string {
	var b Builder
	for _, r := range s {
		b.WriteRune(otherCase(r, upper))
	}
	return b.String()
}

func ToUpper(s string) string { return mapped(s, true) }
func ToLower(s string) string { return mapped(s, false) }

func space(r rune) bool {
	switch r {
	case ' ', '\t', '\n', '\v', '\f', '\r', 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

func TrimSpace(s string) string {
	start, end, at := len(s), 0, 0
	for _, part := range Split(s, "") {
		if !space([]rune(part)[0]) {
			start = min(start, at)
			end = at + len(part)
		}
		at += len(part)
	}
	return s[min(start, end):end]
}

type Builder struct {
	self *Builder
	buf  []byte
}

// own is where the text is added, which a copy of a Builder has not.
func (b *Builder) own() *[]byte {
	if b.self == nil {
		b.self = b
	}
	if b.self != b {
		panic("strings: illegal use of non-zero Builder copied by value")
	}
	return &b.buf
}

func (b *Builder) WriteString(s string) (int, error) {
	buf := b.own()
	*buf = append(*buf, s...)
	return len(s), nil
}

func (b *Builder) Write(p []byte) (int, error) {
	buf := b.own()
	*buf = append(*buf, p...)
	return len(p), nil
}

func (b *Builder) WriteByte(c byte) error {
	buf := b.own()
	*buf = append(*buf, c)
	return nil
}

func (b *Builder) WriteRune(r rune) (int, error) { return b.WriteString(string(r)) }
func (b *Builder) String() string                { return string(b.buf) }
func (b *Builder) Len() int                      { return len(b.buf) }
func (b *Builder) Reset()                        { *b = Builder{} }
func (b *Builder) Grow(n int) {
	b.own()
	if n < 0 {
		panic("strings.Builder.Grow: negative count")
	}
}
