package time

import (
	"internal/channel"
	"strconv"
)

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
func (d Duration) Microseconds() int64 { return int64(d) / 1000 }
func (d Duration) Nanoseconds() int64  { return int64(d) }
func (d Duration) Minutes() float64    { return float64(d) / 6e10 }
func (d Duration) Hours() float64      { return float64(d) / 3.6e12 }

// decimal is n of a unit that is so many powers of ten of nanoseconds.
func decimal(n uint64, power int) string {
	digits := strconv.FormatUint(n, 10)
	for len(digits) <= power {
		digits = "0" + digits
	}
	whole, part := digits[:len(digits)-power], digits[len(digits)-power:]
	for part != "" && part[len(part)-1] == '0' {
		part = part[:len(part)-1]
	}
	if part == "" {
		return whole
	}
	return whole + "." + part
}

func (d Duration) String() string {
	n, sign := uint64(d), ""
	if d < 0 {
		n, sign = -n, "-"
	}
	switch {
	case n == 0:
		return "0s"
	case n < 1000:
		return sign + decimal(n, 0) + "ns"
	case n < 1000000:
		return sign + decimal(n, 3) + "µs"
	case n < uint64(Second):
		return sign + decimal(n, 6) + "ms"
	}
	minutes := n / uint64(Minute)
	text := decimal(n%uint64(Minute), 9) + "s"
	if minutes > 0 {
		text = decimal(minutes%60, 0) + "m" + text
	}
	if minutes >= 60 {
		text = decimal(minutes/60, 0) + "h" + text
	}
	return sign + text
}

func now() int64
func Sleep(d Duration)

type Time struct{ at int64 }

func Now() Time                    { return Time{now()} }
func Since(t Time) Duration        { return Duration(now() - t.at) }
func (t Time) Sub(u Time) Duration { return Duration(t.at - u.at) }
func (t Time) Add(d Duration) Time { return Time{t.at + int64(d)} }
func (t Time) Before(u Time) bool  { return t.at < u.at }
func (t Time) After(u Time) bool   { return t.at > u.at }
func (t Time) Unix() int64         { return t.at / 1e9 }
func (t Time) UnixNano() int64     { return t.at }

func After(d Duration) <-chan Time {
	c := make(chan Time, 1)
	channel.Timers++
	go func() {
		Sleep(d)
		c <- Now()
		channel.Timers--
	}()
	return c
}
