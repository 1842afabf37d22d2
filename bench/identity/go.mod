module github.com/wardhq/ward/bench/identity

go 1.26.3

require github.com/wardhq/ward v0.0.0

require (
	golang.org/x/crypto v0.58.0
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/wardhq/ward => ../..
