package time

import "fmt"

type Duration int64

const (
	Nanosecond  Duration = 1
	Microsecond          = 1000 * Nanosecond
	Millisecond          = 1000 * Microsecond
	Second               = 1000 * Millisecond
	Minute               = 60 * Second
	Hour                 = 60 * Minute
)

func (d Duration) Seconds() float64    { return float64(d) / 1e9 }
func (d Duration) Milliseconds() int64 { return int64(d) / 1000000 }
func (d Duration) String() string      { return fmt.Sprint(d.Seconds(), "s") }

func now() int64
func Sleep(d Duration)

type Time struct{ at int64 }

func Now() Time                    { return Time{now()} }
func Since(t Time) Duration        { return Duration(now() - t.at) }
func (t Time) Sub(u Time) Duration { return Duration(t.at - u.at) }

func After(d Duration) <-chan Time {
	c := make(chan Time, 1)
	go func() {
		Sleep(d)
		c <- Now()
	}()
	return c
}
