package testing

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// T is a test that runs, on a goroutine of its own, or what has all tests. Its output is printed
// when it has failed.
type T struct {
	name     string
	parent   *T
	start    time.Time
	output   strings.Builder
	failed   bool
	skipped  bool
	cleanups []func()
	// Tests inside it that wait until it has ended, which is when its barrier is closed.
	parallel []*T
	barrier  chan bool
	// It lets the test around it go on, as it has ended or waits for that.
	signal  chan bool
	waiting bool
}

// names counts the tests of each name.
var names = map[string]int{}

type InternalTest struct {
	Name string
	F    func(*T)
}

// A test that ends before its function returns panics with this.
type ended struct{}

func (t *T) Name() string  { return t.name }
func (t *T) Helper()       {}
func (t *T) Failed() bool  { return t.failed }
func (t *T) Skipped() bool { return t.skipped }

func (t *T) Fail() {
	for at := t; at != nil; at = at.parent {
		at.failed = true
	}
}

func (t *T) FailNow() {
	t.Fail()
	panic(ended{})
}

func (t *T) SkipNow() {
	t.skipped = true
	panic(ended{})
}

func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// say adds to the output; lines after the first one are indented more.
func (t *T) say(text string) {
	text = strings.TrimSuffix(text, "\n")
	t.output.WriteString("    " + strings.ReplaceAll(text, "\n", "\n        ") + "\n")
}

func (t *T) Log(args ...any)                 { t.say(fmt.Sprintln(args...)) }
func (t *T) Logf(format string, args ...any) { t.say(fmt.Sprintf(format, args...)) }

func (t *T) Error(args ...any) {
	t.say(fmt.Sprintln(args...))
	t.Fail()
}

func (t *T) Errorf(format string, args ...any) {
	t.say(fmt.Sprintf(format, args...))
	t.Fail()
}

func (t *T) Fatal(args ...any) {
	t.say(fmt.Sprintln(args...))
	t.FailNow()
}

func (t *T) Fatalf(format string, args ...any) {
	t.say(fmt.Sprintf(format, args...))
	t.FailNow()
}

func (t *T) Skip(args ...any) {
	t.say(fmt.Sprintln(args...))
	t.SkipNow()
}

func (t *T) Skipf(format string, args ...any) {
	t.say(fmt.Sprintf(format, args...))
	t.SkipNow()
}

// Parallel waits until the test around it has ended.
func (t *T) Parallel() {
	if t.waiting {
		panic("testing: t.Parallel called multiple times")
	}
	t.waiting = true
	t.parent.parallel = append(t.parent.parallel, t)
	t.signal <- true
	<-t.parent.barrier
}

// unique is the name of a test inside this one, which no other test has.
func (t *T) unique(name string) string {
	base := t.name
	if base != "" {
		base += "/"
	}
	for _, r := range name {
		switch quoted := strconv.QuoteRune(r); {
		case strings.TrimSpace(string(r)) == "":
			base += "_"
		case strconv.IsPrint(r):
			base += string(r)
		default:
			base += quoted[1 : len(quoted)-1]
		}
	}
	for {
		n := names[base]
		names[base]++
		if n == 0 && name != "" {
			if before, number := numbered(base); before != base && number < names[before] {
				continue
			}
			return base
		}
		if unique := fmt.Sprintf("%s#%02d", base, n); names[unique] == 0 {
			return unique
		}
	}
}

// numbered takes a number off a name that ends with one.
func numbered(name string) (string, int) {
	at := strings.LastIndex(name, "#")
	if at < 0 {
		return name, 0
	}
	before, digits := name[:at], name[at+1:]
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil, n < 0, len(digits) < 2, len(digits) > 2 && digits[0] == '0':
		return name, 0
	case n == 0 && !strings.HasSuffix(before, "/"):
		return name, 0
	}
	return before, n
}

// Run runs a test inside this one, until it has ended or is parallel.
func (t *T) Run(name string, f func(*T)) bool {
	test := &T{name: t.unique(name), parent: t, start: time.Now()}
	test.barrier, test.signal = make(chan bool), make(chan bool)
	go test.run(f)
	<-test.signal
	return !test.failed
}

func (t *T) run(f func(*T)) {
	t.part(f)
	t.runParallel()
	t.clean()
	if t.failed {
		t.report()
	}
	t.signal <- true
}

// part runs a part of a test, which may end early.
func (t *T) part(f func(*T)) {
	defer func() {
		reason := recover()
		if _, ok := reason.(ended); ok || reason == nil {
			return
		}
		t.Fail()
		t.clean()
		for at := t; at.parent != nil; at = at.parent {
			at.report()
		}
		panic(reason)
	}()
	f(t)
}

func (t *T) runParallel() {
	if len(t.parallel) > 0 {
		close(t.barrier)
	}
	for _, test := range t.parallel {
		<-test.signal
	}
}

func (t *T) clean() {
	for n := len(t.cleanups); n > 0; n = len(t.cleanups) {
		last := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.part(func(*T) { last() })
	}
}

// report adds the output to that of the test around, or prints it.
func (t *T) report() {
	took := strconv.FormatFloat(time.Since(t.start).Seconds(), 'f', 2, 64)
	report := "--- FAIL: " + t.name + " (" + took + "s)\n" + t.output.String()
	if t.parent.parent == nil {
		fmt.Print(report)
		return
	}
	report = strings.TrimSuffix(report, "\n")
	t.parent.output.WriteString("    " + strings.ReplaceAll(report, "\n", "\n    ") + "\n")
}

// Main runs tests one after the other, prints what has failed, and ends the program. The last two
// parameters, benchmarks and examples, are not used.
func Main(match func(pattern, name string) (bool, error), tests []InternalTest, _, _ []InternalTest) {
	all := &T{barrier: make(chan bool)}
	for _, test := range tests {
		all.Run(test.Name, test.F)
	}
	all.runParallel()
	if all.failed {
		fmt.Println("FAIL")
		os.Exit(1)
	}
	fmt.Println("PASS")
	os.Exit(0)
}
