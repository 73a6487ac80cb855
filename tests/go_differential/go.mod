module example.invalid/fing/tests/go_differential

go 1.27
