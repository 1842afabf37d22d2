// Command serve shows the preview on loopback: go run ./internal/cap/identity/internal/page/preview/serve
//
// Guarantee: it listens on loopback only. Not guaranteed: anything else; it is for people who work on the pages.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/page/preview"
)

func main() {
	name := flag.String("name", "Toy Shop", "the brand")
	color := flag.String("color", "", "its colour, #rrggbb")
	port := flag.String("port", "8099", "the port on loopback")
	flag.Parse()
	if err := serve(*name, *color, net.JoinHostPort("127.0.0.1", *port)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(name, color, address string) error {
	p, err := preview.New(name, color)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println("http://" + l.Addr().String() + "/")
	s := &http.Server{Handler: preview.Handler(p), ReadHeaderTimeout: 5 * time.Second}
	return s.Serve(l)
}
