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

func (d Duration) Seconds() float64    { return d.in(Second) }
func (d Duration) Milliseconds() int64 { return int64(d) / 1000000 }
func (d Duration) Microseconds() int64 { return int64(d) / 1000 }
func (d Duration) Nanoseconds() int64  { return int64(d) }
func (d Duration) Minutes() float64    { return d.in(Minute) }
func (d Duration) Hours() float64      { return d.in(Hour) }

// in is the duration in a unit: Go adds the whole ones and the rest, each as a float.
func (d Duration) in(unit Duration) float64 {
	return float64(d/unit) + float64(d%unit)/float64(unit)
}

func (d Duration) Abs() Duration {
	switch {
	case d >= 0:
		return d
	case d == -1<<63:
		return 1<<63 - 1
	}
	return -d
}

func (d Duration) Truncate(m Duration) Duration {
	if m <= 0 {
		return d
	}
	return d - d%m
}

func (d Duration) Round(m Duration) Duration {
	if m <= 0 {
		return d
	}
	rest := d % m
	away := m
	if d < 0 {
		rest, away = -rest, -m
	}
	near := d - d%m
	if rest+rest < m {
		return near
	}
	if far := near + away; (far > near) == (away > 0) {
		return far
	}
	if d < 0 {
		return -1 << 63
	}
	return 1<<63 - 1
}

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

func (t Time) Equal(u Time) bool { return t.at == u.at }
func (t Time) UnixMilli() int64  { return t.at / 1e6 }

// A timer sends when its time has come. The first of the list is the earliest, and none is later
// than those at twice its place, and one further.
type timer struct {
	at int64
	c  chan Time
}

var timers []timer

// When the goroutines wake up that sleep for timers, the earliest last.
var wakes []int64

func After(d Duration) <-chan Time {
	t := timer{now() + int64(d), make(chan Time, 1)}
	i := len(timers)
	timers = append(timers, t)
	for ; i > 0 && timers[(i-1)/2].at > t.at; i = (i - 1) / 2 {
		timers[i] = timers[(i-1)/2]
	}
	timers[i] = t
	if len(wakes) == 0 || t.at < wakes[len(wakes)-1] {
		wakes = append(wakes, t.at)
		channel.Timers++
		go sleep(t.at)
	}
	return t.c
}

// first removes the earliest timer.
func first() timer {
	earliest, last := timers[0], timers[len(timers)-1]
	timers = timers[:len(timers)-1]
	i := 0
	for {
		next := 2*i + 1
		if next+1 < len(timers) && timers[next+1].at < timers[next].at {
			next++
		}
		if next >= len(timers) || timers[next].at >= last.at {
			break
		}
		timers[i] = timers[next]
		i = next
	}
	if len(timers) > 0 {
		timers[i] = last
	}
	return earliest
}

// sleep sends for timers, as long as no other goroutine wakes up for the next one.
func sleep(until int64) {
	for {
		Sleep(Duration(until - now()))
		for len(timers) > 0 && timers[0].at <= now() {
			first().c <- Now()
		}
		for i := len(wakes) - 1; i >= 0; i-- {
			if wakes[i] == until {
				wakes = append(wakes[:i], wakes[i+1:]...)
				break
			}
		}
		if len(timers) == 0 || len(wakes) > 0 && wakes[len(wakes)-1] <= timers[0].at {
			channel.Timers--
			return
		}
		until = timers[0].at
		wakes = append(wakes, until)
	}
}
