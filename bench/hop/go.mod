module github.com/wardhq/ward/bench/hop

go 1.26.3

require github.com/wardhq/ward v0.0.0

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/wardhq/ward => ../..
