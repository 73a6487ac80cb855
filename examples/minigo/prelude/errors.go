package errors

type errorString struct{ s string }

func (e *errorString) Error() string { return e.s }

func New(s string) error { return &errorString{s} }

func Unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// same is false for errors that have no ==.
func same(err, target error) (is bool) {
	defer func() { recover() }()
	return err == target
}

func Is(err, target error) bool {
	if err == nil || target == nil {
		return err == target
	}
	if same(err, target) {
		return true
	}
	if is, ok := err.(interface{ Is(error) bool }); ok && is.Is(target) {
		return true
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		next := u.Unwrap()
		return next != nil && Is(next, target)
	case interface{ Unwrap() []error }:
		for _, err := range u.Unwrap() {
			if Is(err, target) {
				return true
			}
		}
	}
	return false
}
