module github.com/wardhq/ward/sdk

go 1.26
