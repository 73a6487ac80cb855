package strings

func index(s, part string) int

func Index(s, part string) int      { return index(s, part) }
func Contains(s, part string) bool  { return index(s, part) >= 0 }
func HasPrefix(s, p string) bool    { return len(s) >= len(p) && s[:len(p)] == p }
func HasSuffix(s, p string) bool    { return len(s) >= len(p) && s[len(s)-len(p):] == p }

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
		i := index(s, sep)
		if i < 0 {
			return append(all, s)
		}
		all = append(all, s[:i])
		s = s[i+len(sep):]
	}
}

func mapped(s string, from, to byte, by int) string {
	b := []byte(s)
	for i, c := range b {
		if from <= c && c <= to {
			b[i] = byte(int(c) + by)
		}
	}
	return string(b)
}

func ToUpper(s string) string { return mapped(s, 'a', 'z', -32) }
func ToLower(s string) string { return mapped(s, 'A', 'Z', 32) }

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func TrimSpace(s string) string {
	for len(s) > 0 && space(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && space(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

type Builder struct{ buf []byte }

func (b *Builder) WriteString(s string) (int, error) {
	b.buf = append(b.buf, s...)
	return len(s), nil
}

func (b *Builder) WriteByte(c byte) error {
	b.buf = append(b.buf, c)
	return nil
}

func (b *Builder) WriteRune(r rune) (int, error) { return b.WriteString(string(r)) }
func (b *Builder) String() string                { return string(b.buf) }
func (b *Builder) Len() int                      { return len(b.buf) }
func (b *Builder) Reset()                        { b.buf = nil }
