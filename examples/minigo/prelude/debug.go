package debug

import "runtime"

// SetGCPercent returns the setting before, 100 at first. A negative one ends collections that the
// program does not ask for.
func SetGCPercent(percent int) int

func FreeOSMemory() { runtime.GC() }
