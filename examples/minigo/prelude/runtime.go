package runtime

// Fault is the type of the panics of the runtime.
type Fault string

func (f Fault) Error() string { return string(f) }
func (f Fault) RuntimeError() {}

type Error interface {
	error
	RuntimeError()
}

const GOARCH = "amd64"
const GOOS = "linux"
const Compiler = "minigo"

func GC()
func Gosched()
func SetFinalizer(obj any, finalizer any)
func KeepAlive(x any)
func NumGoroutine() int
func GOMAXPROCS(n int) int { return 1 }

type Cleanup struct{ number uintptr }

func stopCleanup(number uintptr)
func (c Cleanup) Stop() { stopCleanup(c.number) }

type MemStats struct {
	Alloc, HeapAlloc, HeapObjects uint64
	NumGC                         uint32
}

func readMemStats() (bytes, objects, collections uint64)

func ReadMemStats(m *MemStats) {
	bytes, objects, collections := readMemStats()
	m.Alloc, m.HeapAlloc, m.HeapObjects, m.NumGC = bytes, bytes, objects, uint32(collections)
}
