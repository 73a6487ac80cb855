package atomic

// Goroutines hand over only where they wait, so plain accesses are atomic.

func AddInt32(p *int32, n int32) int32     { *p += n; return *p }
func AddInt64(p *int64, n int64) int64     { *p += n; return *p }
func AddUint32(p *uint32, n uint32) uint32 { *p += n; return *p }
func AddUint64(p *uint64, n uint64) uint64 { *p += n; return *p }
func LoadInt32(p *int32) int32             { return *p }
func LoadInt64(p *int64) int64             { return *p }
func LoadUint32(p *uint32) uint32          { return *p }
func LoadUint64(p *uint64) uint64          { return *p }
func StoreInt32(p *int32, n int32)         { *p = n }
func StoreInt64(p *int64, n int64)         { *p = n }
func StoreUint32(p *uint32, n uint32)      { *p = n }
func StoreUint64(p *uint64, n uint64)      { *p = n }

func SwapInt32(p *int32, n int32) int32 {
	old := *p
	*p = n
	return old
}

func CompareAndSwapInt32(p *int32, old, new int32) bool {
	if *p != old {
		return false
	}
	*p = new
	return true
}

func SwapInt64(p *int64, n int64) int64 {
	old := *p
	*p = n
	return old
}

func CompareAndSwapInt64(p *int64, old, new int64) bool {
	if *p != old {
		return false
	}
	*p = new
	return true
}

func SwapUint32(p *uint32, n uint32) uint32 {
	old := *p
	*p = n
	return old
}

func CompareAndSwapUint32(p *uint32, old, new uint32) bool {
	if *p != old {
		return false
	}
	*p = new
	return true
}

func SwapUint64(p *uint64, n uint64) uint64 {
	old := *p
	*p = n
	return old
}

func CompareAndSwapUint64(p *uint64, old, new uint64) bool {
	if *p != old {
		return false
	}
	*p = new
	return true
}

type Int32 struct{ v int32 }

func (i *Int32) Add(n int32) int32                  { i.v += n; return i.v }
func (i *Int32) Load() int32                        { return i.v }
func (i *Int32) Store(n int32)                      { i.v = n }
func (i *Int32) Swap(n int32) int32                 { return SwapInt32(&i.v, n) }
func (i *Int32) CompareAndSwap(old, new int32) bool { return CompareAndSwapInt32(&i.v, old, new) }

type Int64 struct{ v int64 }

func (i *Int64) Add(n int64) int64                  { i.v += n; return i.v }
func (i *Int64) Load() int64                        { return i.v }
func (i *Int64) Store(n int64)                      { i.v = n }
func (i *Int64) Swap(n int64) int64                 { return SwapInt64(&i.v, n) }
func (i *Int64) CompareAndSwap(old, new int64) bool { return CompareAndSwapInt64(&i.v, old, new) }

type Uint32 struct{ v uint32 }

func (i *Uint32) Add(n uint32) uint32                 { i.v += n; return i.v }
func (i *Uint32) Load() uint32                        { return i.v }
func (i *Uint32) Store(n uint32)                      { i.v = n }
func (i *Uint32) Swap(n uint32) uint32                { return SwapUint32(&i.v, n) }
func (i *Uint32) CompareAndSwap(old, new uint32) bool { return CompareAndSwapUint32(&i.v, old, new) }

type Uint64 struct{ v uint64 }

func (i *Uint64) Add(n uint64) uint64                 { i.v += n; return i.v }
func (i *Uint64) Load() uint64                        { return i.v }
func (i *Uint64) Store(n uint64)                      { i.v = n }
func (i *Uint64) Swap(n uint64) uint64                { return SwapUint64(&i.v, n) }
func (i *Uint64) CompareAndSwap(old, new uint64) bool { return CompareAndSwapUint64(&i.v, old, new) }

type Bool struct{ v bool }

func (b *Bool) Load() bool   { return b.v }
func (b *Bool) Store(v bool) { b.v = v }
func (b *Bool) Swap(v bool) bool {
	old := b.v
	b.v = v
	return old
}
func (b *Bool) CompareAndSwap(old, new bool) bool {
	if b.v != old {
		return false
	}
	b.v = new
	return true
}
