package io

import "errors"

type Reader interface {
	Read(p []byte) (n int, err error)
}
type Writer interface {
	Write(p []byte) (n int, err error)
}
type Closer interface{ Close() error }

var EOF = errors.New("EOF")

func WriteString(w Writer, s string) (n int, err error) { return w.Write([]byte(s)) }

func ReadAll(r Reader) ([]byte, error) {
	all := []byte{}
	part := make([]byte, 512)
	for {
		n, err := r.Read(part)
		all = append(all, part[:n]...)
		if err == EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

var Discard Writer = discard{}
