// The text of a panic is written as it is, whatever bytes it has.
package main

func main() {
	panic("tab\tzero\x00 and \xff, which is no UTF-8")
}
