package sort

// A heap sort: it needs no memory and has no bad case.
func sorted(n int, less func(i, j int) bool, swap func(i, j int)) {
	sink := func(at, end int) {
		for {
			child := 2*at + 1
			if child >= end {
				return
			}
			if child+1 < end && less(child, child+1) {
				child++
			}
			if !less(at, child) {
				return
			}
			swap(at, child)
			at = child
		}
	}
	for at := n/2 - 1; at >= 0; at-- {
		sink(at, n)
	}
	for end := n - 1; end > 0; end-- {
		swap(0, end)
		sink(0, end)
	}
}

func Ints(a []int) {
	sorted(len(a), func(i, j int) bool { return a[i] < a[j] }, func(i, j int) { a[i], a[j] = a[j], a[i] })
}

func Strings(a []string) {
	sorted(len(a), func(i, j int) bool { return a[i] < a[j] }, func(i, j int) { a[i], a[j] = a[j], a[i] })
}
