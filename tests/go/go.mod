module example.invalid/fing/tests/go

go 1.27
