// Command scan measures Ward's scan of dependencies beside osv-scanner, on the same lock files and the same advisories, both offline.
//
//	go install github.com/google/osv-scanner/v2/cmd/osv-scanner@v2.5.0
//	go run . data -out DATA -go VULNDB/data/osv -rust ADVISORY-DB@osv -pypi ADVISORY-DATABASE/vulns -trees TREES -total 215000
//	go run . compare -data DATA -osv-scanner $(go env GOPATH)/bin/osv-scanner TREES/*
//
// data makes zips as osv.dev has them of checkouts of golang/vulndb, rustsec/advisory-db (its branch osv) and pypa/advisory-database, and fills
// up with advisories for npm that it invents, a part of them for packages in the trees' lock files. compare builds Ward's index of the zips, and then
// scans each tree with both.
package main

import (
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("data, or compare")
	}
	var err error
	switch args := os.Args[2:]; os.Args[1] {
	case "data":
		err = makeData(args)
	case "compare":
		err = compare(args)
	case "ward": // one scan, in a process of its own
		err = wardScan(args[0], args[1], args[2])
	case "measure":
		err = measure(args[0], args[1:])
	case "build": // likewise
		err = wardBuild(args[0])
	default:
		log.Fatalf("%q: data, or compare", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
