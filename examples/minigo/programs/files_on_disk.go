// Files of the operating system: made, written, read, closed, removed, and what goes wrong.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// Log closes its file by a finalizer.
type Log struct{ file *os.File }

func open(name string, closed chan error) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	log := &Log{file}
	fmt.Fprintln(log.file, "from a log")
	runtime.SetFinalizer(log, func(log *Log) { closed <- log.file.Close() })
}

// counter counts what is written to it.
type counter struct{ lines, bytes int }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += len(p)
	c.lines += strings.Count(string(p), "\n")
	return len(p), nil
}

func main() {
	f, err := os.CreateTemp("", "minigo-*.txt")
	if err != nil {
		fmt.Println("no file:", err)
		return
	}
	name := f.Name()
	base := name[strings.LastIndex(name, "/")+1:]
	fmt.Println(strings.HasPrefix(base, "minigo-"), strings.HasSuffix(base, ".txt"))
	fmt.Fprintf(f, "%d lines\n", 2)
	n, err := f.WriteString("second\n")
	fmt.Println(n, err)
	fmt.Println(f.Close(), f.Close() != nil)
	err = f.Close()
	fmt.Println(strings.ReplaceAll(err.Error(), name, "NAME"), errors.Is(err, os.ErrClosed))
	_, err = f.Write([]byte("x"))
	fmt.Println(strings.ReplaceAll(err.Error(), name, "NAME"))

	closed := make(chan error)
	open(name, closed)
	for waiting := true; waiting; {
		runtime.GC()
		select {
		case err := <-closed:
			fmt.Println("closed by a finalizer:", err)
			waiting = false
		default:
		}
	}

	r, err := os.Open(name)
	fmt.Println(err)
	part := make([]byte, 10)
	var text strings.Builder
	var sum counter
	for {
		n, err := r.Read(part)
		text.Write(part[:n])
		fmt.Fprint(&sum, string(part[:n]))
		if err == io.EOF {
			break
		}
	}
	fmt.Printf("%q %+v\n", text.String(), sum)
	_, err = r.Write(part)
	fmt.Println(strings.ReplaceAll(err.Error(), name, "NAME"))
	r.Close()

	data, err := os.ReadFile(name)
	fmt.Println(len(data), err)
	fmt.Println(os.Remove(name), os.IsNotExist(os.Remove(name)))
	_, err = os.Open("/nonexistent/x")
	fmt.Println(err, errors.Is(err, os.ErrNotExist))
	_, err = os.Create("/nonexistent/y")
	fmt.Println(err)
	fmt.Println(os.Remove("/nonexistent/z"))
	_, err = os.Open("/")
	fmt.Println(err)
	if path, ok := err.(*os.PathError); ok {
		fmt.Println(path.Op, path.Path, path.Err)
	}
	fmt.Printf("%q %v\n", os.Getenv("MINIGO_IS_NOT_SET"), os.Getenv("PATH") != "")
	var none *os.File
	fmt.Println(none.Close())
	var w io.Writer = os.Stdout
	io.WriteString(w, "the end\n")
}
