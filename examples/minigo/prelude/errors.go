package errors

type text struct{ s string }

func (t *text) Error() string { return t.s }

func New(s string) error { return &text{s} }

func Unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

func Is(err, target error) bool {
	for err != nil {
		if err == target {
			return true
		}
		if is, ok := err.(interface{ Is(error) bool }); ok && is.Is(target) {
			return true
		}
		err = Unwrap(err)
	}
	return false
}
