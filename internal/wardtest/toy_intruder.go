package wardtest

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// intruder adds what the toy does when somebody has broken into it.
//
//	/intrude       what an intruder asks the kernel for: another process, a mount, raw packets; tells the errors
//	/write?path=P  writes a file
//	/send?to=ADDRESS:PORT   sends a datagram
func intruder(mux *http.ServeMux) {
	mux.HandleFunc("/intrude", func(w http.ResponseWriter, _ *http.Request) {
		_, packets := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		say(w, fmt.Appendf(nil, "%v, %v, %v\n", unix.PtraceAttach(1), unix.Mount("none", "/tmp", "tmpfs", 0, ""), packets), nil)
	})
	mux.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		say(w, nil, os.WriteFile(r.URL.Query().Get("path"), []byte("written"), 0o644))
	})
	mux.HandleFunc("/send", func(w http.ResponseWriter, r *http.Request) {
		c, err := net.Dial("udp", r.URL.Query().Get("to"))
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte("loot"))
		}
		say(w, nil, err)
	})
}
