package testing

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// T is a test that runs. Its output is printed when it has failed.
type T struct {
	name     string
	parent   *T
	output   strings.Builder
	failed   bool
	skipped  bool
	cleanups []func()
}

type InternalTest struct {
	Name string
	F    func(*T)
}

// A test that ends before its function returns panics with this.
type ended struct{}

func (t *T) Name() string  { return t.name }
func (t *T) Helper()       {}
func (t *T) Parallel()     {}
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

// Run runs a test inside this one, to its end.
func (t *T) Run(name string, f func(*T)) bool {
	name = strings.ReplaceAll(name, " ", "_")
	if name == "" {
		name = "#00"
	}
	if t.name != "" {
		name = t.name + "/" + name
	}
	test := &T{name: name, parent: t}
	start := time.Now()
	test.run(f)
	if test.failed {
		took := time.Since(start).Seconds()
		report := "--- FAIL: " + name + " (" + strconv.FormatFloat(took, 'f', 2, 64) + "s)\n" + test.output.String()
		for _, line := range strings.Split(strings.TrimSuffix(report, "\n"), "\n") {
			if t.name != "" {
				line = "    " + line
			}
			t.output.WriteString(line + "\n")
		}
	}
	return !test.failed
}

func (t *T) run(f func(*T)) {
	defer func() {
		for i := len(t.cleanups) - 1; i >= 0; i-- {
			t.cleanups[i]()
		}
	}()
	defer func() {
		if reason := recover(); reason != nil {
			if _, ok := reason.(ended); !ok {
				panic(reason)
			}
		}
	}()
	f(t)
}

// Main runs tests one after the other, prints what has failed, and ends the program. The last two
// parameters, benchmarks and examples, are not used.
func Main(match func(pattern, name string) (bool, error), tests []InternalTest, _, _ []InternalTest) {
	all := &T{}
	for _, test := range tests {
		all.Run(test.Name, test.F)
		fmt.Print(all.output.String())
		all.output.Reset()
	}
	if all.failed {
		fmt.Println("FAIL")
		os.Exit(1)
	}
	fmt.Println("PASS")
	os.Exit(0)
}
