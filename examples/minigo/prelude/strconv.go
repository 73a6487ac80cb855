package strconv

func Itoa(n int) string
