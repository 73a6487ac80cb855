package fmt

import "errors"

type Stringer interface{ String() string }

func Println(a ...any)
func Print(a ...any)
func Printf(format string, a ...any)
func Sprint(a ...any) string
func Sprintln(a ...any) string
func Sprintf(format string, a ...any) string

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
