// Lists and maps of objects with finalizers, replaced again and again: nothing that is reachable
// is finalized.
package main

import (
	"fmt"
	"runtime"
)

const (
	Rounds = 30
	Slots  = 16
)

type Item struct {
	number int
	live   bool
	next   *Item
}

var finalized, early int

func item(n int, next *Item) *Item {
	i := &Item{number: n, live: true, next: next}
	runtime.SetFinalizer(i, func(i *Item) {
		finalized++
		if i.live {
			early++
		}
	})
	return i
}

func main() {
	var slots [Slots]*Item
	index := map[int]*Item{}
	made := 0
	random := uint32(1)
	for range Rounds {
		for s := range slots {
			random = random*1664525 + 1013904223
			if old := slots[s]; old != nil {
				old.live = false
				delete(index, old.number)
				if random>>28 < 4 {
					slots[s] = nil
					continue
				}
			}
			made++
			slots[s] = item(made, nil)
			index[made] = slots[s]
		}
		runtime.GC()
	}
	alive := 0
	for s := range slots {
		if slots[s] != nil {
			alive++
			if index[slots[s].number] != slots[s] || !slots[s].live {
				panic("lost an item")
			}
		}
	}
	for finalized < made-alive {
		runtime.GC()
	}
	fmt.Println("made", made, "alive", alive, "early", early, "index", len(index))
	runtime.KeepAlive(slots)
}
