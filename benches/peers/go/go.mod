module example.invalid/peer

go 1.24
