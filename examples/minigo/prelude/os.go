package os

import (
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func Exit(code int)
func LookupEnv(name string) (string, bool) {
	value, found := lookupEnv(name)
	return value, found != 0
}

func Getenv(name string) string {
	value, _ := lookupEnv(name)
	return value
}

func TempDir() string {
	if dir := Getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/tmp"
}

// Functions of the host: a text that is not empty is what went wrong.
func lookupEnv(name string) (value string, found int)
func open(name string, flags int) (file int, problem string)
func read(file int, p []byte) (n int, problem string)
func write(file int, p []byte) (n int, problem string)
func closeFile(file int) (unused int, problem string)
func remove(name string) (unused int, problem string)

// started is another number each time that a program runs, and so is the name of its first file.
var started = int(time.Now().UnixNano())

var (
	ErrInvalid    = fs.ErrInvalid
	ErrPermission = fs.ErrPermission
	ErrExist      = fs.ErrExist
	ErrNotExist   = fs.ErrNotExist
	ErrClosed     = fs.ErrClosed
)

// errno is an error of the operating system, by its text.
type errno string

func (e errno) Error() string { return string(e) }
func (e errno) Is(target error) bool {
	switch e {
	case "no such file or directory":
		return target == ErrNotExist
	case "file exists", "directory not empty":
		return target == ErrExist
	case "permission denied", "operation not permitted":
		return target == ErrPermission
	}
	return false
}

type PathError = fs.PathError
type FileMode = fs.FileMode

func IsNotExist(err error) bool   { return errors.Is(err, ErrNotExist) }
func IsExist(err error) bool      { return errors.Is(err, ErrExist) }
func IsPermission(err error) bool { return errors.Is(err, ErrPermission) }

func failed(op, path, problem string) error {
	if problem == "" {
		return nil
	}
	if strings.Contains(problem, "NUL byte") {
		problem = "invalid argument"
	}
	// As the host has it, which begins with a capital letter and ends with the number of the error.
	if i := strings.Index(problem, " (os error"); i >= 0 {
		problem = strings.ToLower(problem[:1]) + problem[1:i]
	}
	return &PathError{op, path, errno(problem)}
}

const (
	O_RDONLY = 0x0
	O_WRONLY = 0x1
	O_RDWR   = 0x2
	O_APPEND = 0x400
	O_CREATE = 0x40
	O_EXCL   = 0x80
	O_TRUNC  = 0x200
)

// File is an open file, by the host's number of it.
type File struct {
	number int
	name   string
	// Closes it when it is found unreachable.
	cleanup runtime.Cleanup
}

var (
	Stdin  = &File{number: 0, name: "/dev/stdin"}
	Stdout = &File{number: 1, name: "/dev/stdout"}
	Stderr = &File{number: 2, name: "/dev/stderr"}
)

// OpenFile makes files that their owner and others may read, whatever perm says.
func OpenFile(name string, flag int, perm FileMode) (*File, error) {
	number, problem := open(name, flag)
	if problem != "" {
		return nil, failed("open", name, problem)
	}
	f := &File{number: number, name: name}
	f.cleanup = runtime.AddCleanup(f, func(number int) { closeFile(number) }, number)
	return f, nil
}

func Open(name string) (*File, error)   { return OpenFile(name, O_RDONLY, 0) }
func Create(name string) (*File, error) { return OpenFile(name, O_RDWR|O_CREATE|O_TRUNC, 0666) }

func CreateTemp(dir, pattern string) (*File, error) {
	if dir == "" {
		dir = TempDir()
	}
	if strings.Contains(pattern, "/") {
		err := errors.New("pattern contains path separator")
		return nil, &PathError{"createtemp", pattern, err}
	}
	before, after := pattern, ""
	if i := strings.LastIndex(pattern, "*"); i >= 0 {
		before, after = pattern[:i], pattern[i+1:]
	}
	for {
		started++
		name := strings.TrimSuffix(dir, "/") + "/" + before + strconv.Itoa(started) + after
		f, err := OpenFile(name, O_RDWR|O_CREATE|O_EXCL, 0600)
		if !IsExist(err) {
			return f, err
		}
	}
}

func Remove(name string) error {
	_, problem := remove(name)
	return failed("remove", name, problem)
}

func ReadFile(name string) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func WriteFile(name string, data []byte, perm FileMode) error {
	f, err := OpenFile(name, O_WRONLY|O_CREATE|O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

func (f *File) check(op string) error {
	if f == nil {
		return ErrInvalid
	}
	if f.number < 0 {
		return &PathError{op, f.name, ErrClosed}
	}
	return nil
}

func (f *File) Name() string { return f.name }

func (f *File) Read(p []byte) (n int, err error) {
	if err := f.check("read"); err != nil {
		return 0, err
	}
	n, problem := read(f.number, p)
	if n == 0 && problem == "" && len(p) > 0 {
		return 0, io.EOF
	}
	return n, failed("read", f.name, problem)
}

func (f *File) Write(p []byte) (n int, err error) {
	if err := f.check("write"); err != nil {
		return 0, err
	}
	n, problem := write(f.number, p)
	return n, failed("write", f.name, problem)
}

func (f *File) WriteString(s string) (n int, err error) { return f.Write([]byte(s)) }

func (f *File) Close() error {
	if err := f.check("close"); err != nil {
		return err
	}
	f.cleanup.Stop()
	_, problem := closeFile(f.number)
	f.number = -1
	return failed("close", f.name, problem)
}
