package strings

func Index(s, part string) int

// cased is a letter in upper or lower case.
func cased(r rune, upper bool) rune

func Contains(s, part string) bool   { return Index(s, part) >= 0 }
func IndexByte(s string, c byte) int { return Index(s, string([]byte{c})) }
func HasPrefix(s, p string) bool     { return len(s) >= len(p) && s[:len(p)] == p }
func HasSuffix(s, p string) bool     { return len(s) >= len(p) && s[len(s)-len(p):] == p }

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

func Count(s, part string) int { return len(Split(s, part)) - 1 }

func Replace(s, old, new string, n int) string {
	if old == new || n == 0 {
		return s
	}
	var b Builder
	if old == "" {
		for i, r := range s + "." {
			if n != 0 {
				b.WriteString(new)
				n--
			}
			if i < len(s) {
				b.WriteRune(r)
			}
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
	if sep == "" {
		var all []string
		for _, r := range s {
			all = append(all, string(r))
		}
		return all
	}
	var all []string
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
		b.WriteRune(cased(r, upper))
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
	start, end := len(s), 0
	for i, r := range s {
		if !space(r) {
			start = min(start, i)
			end = i + len(string(r))
		}
	}
	if end == 0 {
		return ""
	}
	return s[start:min(end, len(s))]
}

type Builder struct{ buf []byte }

func (b *Builder) WriteString(s string) (int, error) {
	b.buf = append(b.buf, s...)
	return len(s), nil
}

func (b *Builder) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *Builder) WriteByte(c byte) error {
	b.buf = append(b.buf, c)
	return nil
}

func (b *Builder) WriteRune(r rune) (int, error) { return b.WriteString(string(r)) }
func (b *Builder) String() string                { return string(b.buf) }
func (b *Builder) Len() int                      { return len(b.buf) }
func (b *Builder) Reset()                        { b.buf = nil }
