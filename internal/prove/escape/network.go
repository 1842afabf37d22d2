package escape

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds one connection attempt.
const patience = 700 * time.Millisecond

const (
	byFilter    = "seccomp"
	byNamespace = "network namespace"
	byRoot      = "private root"
	byLandlock  = "Landlock"
	byRights    = "no capabilities"
	byPIDs      = "PID namespace"
	byIPC       = "IPC namespace"
	byInit      = "init is undumpable"
	byLimits    = "limits"
)

func network() []attempt {
	return []attempt{
		{"raw-socket", "forge IP packets on a raw socket", byFilter, socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		{"packet-socket", "see and forge frames on a packet socket", byFilter, socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"vsock-socket", "talk to the hypervisor, which no namespace holds back", byFilter, socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"crypto-socket", "reach the kernel's crypto code (AF_ALG)", byFilter, socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{"xdp-socket", "reach AF_XDP", byFilter, socket(unix.AF_XDP, unix.SOCK_RAW, 0)},
		{"bluetooth-socket", "reach the Bluetooth stack", byFilter, socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 1)},
		{"netfilter-socket", "reach nf_tables", byFilter, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
		{"audit-socket", "reach the audit subsystem", byFilter, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)},
		{"sctp-socket", "speak SCTP, which Landlock doesn't see", byFilter, socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)},
		{"udplite-socket", "speak UDP-Lite", byFilter, socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE)},
		{"mptcp-connect", "connect by MPTCP to a port that isn't granted, past Landlock's TCP rules", byFilter, connectOwn(unix.IPPROTO_MPTCP)},
		{"tcp-connect", "connect by TCP to a port that isn't granted", byLandlock, connectOwn(unix.IPPROTO_TCP)},
		{"public-address", "connect to a public address", byNamespace, dialFixed("192.0.2.1:443")},
		{"public-address-v6", "connect to a public IPv6 address", byNamespace, dialFixed("[2001:db8::1]:443")},
		{"metadata-address", "ask the cloud's metadata service for credentials", byNamespace, dialFixed("169.254.169.254:80")},
		{"private-address", "connect to a neighbour in the private network", byNamespace, dialFixed("10.0.0.1:80")},
		{"udp-route", "send UDP to a public address, which Landlock doesn't see", byNamespace, routes("1.1.1.1:53")},
		{"dns-outside", "ask a resolver outside", byNamespace, routes("8.8.8.8:53")},
		{"dns-undeclared", "resolve a name that isn't granted", "name responder", lookUp},
		{"host-tcp", "connect to the host's own listeners", byNamespace, hostTCP},
		{"host-udp", "send to the host's own UDP sockets", byNamespace, hostUDP},
		{"host-abstract-socket", "connect to an abstract Unix socket of the host", byNamespace, hostAbstract},
		{"host-unix-socket", "connect to Unix sockets of the host, of Ward and of other services", byRoot, hostSockets},
		{"container-socket", "reach a container engine's socket", byRoot, containerSockets},
		{"interface-change", "give lo another address", byRights, interfaceChange},
		{"impersonate-upstream", "listen where Ward listens for an upstream", byNamespace, impersonate},
		{"tun-device", "make a tunnel interface", byRoot, openDevice("/dev/net/tun")},
	}
}

func socket(family, kind, protocol int) func(*Ground) Result {
	return func(*Ground) Result {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return blocked("%s", unix.ErrnoName(errnoOf(err)))
		}
		unix.Close(fd)
		return succeeded("the socket is open")
	}
}

func sockaddr(address string) (unix.Sockaddr, int, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, 0, fmt.Errorf("read address: %w", err)
	}
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, unix.AF_INET, nil
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, unix.AF_INET6, nil
}

// dial connects; a connection that neither comes nor fails in time is unix.ETIMEDOUT.
func dial(family, kind, protocol int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, to)
	if err != unix.EINPROGRESS {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p, int(time.Until(end).Milliseconds())+1); err == unix.EINTR || n == 0 {
			continue
		}
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && v != 0 {
			err = unix.Errno(v)
		}
		return err
	}
	return unix.ETIMEDOUT
}

func dialTCP(address string) Result {
	to, family, err := sockaddr(address)
	if err != nil {
		return notApplicable(err.Error())
	}
	switch err := dial(family, unix.SOCK_STREAM, unix.IPPROTO_TCP, to); err {
	case nil:
		return succeeded("connected to %s", address)
	case unix.ETIMEDOUT, unix.ECONNREFUSED:
		// Something beyond this sandbox was asked, or nothing holds it back but chance: only on our own
		// loopback may a connection be refused by a closed port.
		if isLoopback(address) {
			return blocked("%s: %s", address, unix.ErrnoName(errnoOf(err)))
		}
		return succeeded("packets to %s leave the sandbox (%s)", address, unix.ErrnoName(errnoOf(err)))
	default:
		return blocked("%s: %s", address, unix.ErrnoName(errnoOf(err)))
	}
}

func isLoopback(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err == nil && ap.Addr().IsLoopback()
}

func dialFixed(address string) func(*Ground) Result {
	return func(*Ground) Result { return dialTCP(address) }
}

func hostTCP(g *Ground) Result { return each(g.TCP, "no listener of the host is known", dialTCP) }

// connectOwn connects to a listener that this process opens on a port that the model doesn't
// name: nothing outside is reached, and Landlock is what refuses.
func connectOwn(protocol int) func(*Ground) Result {
	return func(*Ground) Result {
		ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return notApplicable("no listener of its own: " + err.Error())
		}
		defer unix.Close(ln)
		if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return blocked("bind: %v", err)
		}
		if err := unix.Listen(ln, 1); err != nil {
			return blocked("listen: %v", err)
		}
		at, err := unix.Getsockname(ln)
		if err != nil {
			return blocked("%v", err)
		}
		return unlessError(dial(unix.AF_INET, unix.SOCK_STREAM, protocol, at), "connected")
	}
}

// routes connects a UDP socket, which sends nothing, and works wherever there is a route.
func routes(address string) func(*Ground) Result {
	return func(*Ground) Result {
		to, family, err := sockaddr(address)
		if err != nil {
			return notApplicable(err.Error())
		}
		return unlessError(dial(family, unix.SOCK_DGRAM, unix.IPPROTO_UDP, to), "there is a route to "+address)
	}
}

// hostUDP sends, and waits for the echo that shows that somebody got it.
func hostUDP(g *Ground) Result {
	return each(g.UDP, "no UDP socket of the host is known", func(address string) Result {
		c, err := net.Dial("udp", address)
		if err != nil {
			return blocked("%v", err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte("ward")); err != nil {
			return blocked("%v", err)
		}
		n, err := c.Read(make([]byte, 16))
		if err != nil {
			return blocked("no answer: %v", err)
		}
		return succeeded("%s answered %d bytes", address, n)
	})
}

func lookUp(*Ground) Result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := net.Resolver{PreferGo: true}
	ips, err := r.LookupHost(ctx, "exfiltrated.ward-attack.example.com")
	if err != nil {
		return blocked("%v", err)
	}
	return succeeded("resolved to %v", ips)
}

func unixSocket(path string) error {
	err := dial(unix.AF_UNIX, unix.SOCK_STREAM, 0, &unix.SockaddrUnix{Name: path})
	if err == unix.EPROTOTYPE {
		err = dial(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, &unix.SockaddrUnix{Name: path})
	}
	if err == unix.EPROTOTYPE {
		err = dial(unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: path})
	}
	return err
}

func hostSockets(g *Ground) Result {
	return each(g.Sockets, "no socket of the host is known", func(path string) Result {
		return unlessError(unixSocket(path), "connected to "+path)
	})
}

func hostAbstract(g *Ground) Result {
	return each(g.Abstract, "no abstract socket of the host is known", func(name string) Result {
		return unlessError(unixSocket("@"+name), "connected to @"+name)
	})
}

func containerSockets(*Ground) Result {
	return each([]string{"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock", "/run/dbus/system_bus_socket", "/run/systemd/private"}, "", func(path string) Result {
		return unlessError(unixSocket(path), "connected to "+path)
	})
}

// interfaceChange asks for 127.9.9.9/8 on lo (netdevice(7)).
func interfaceChange(*Ground) Result {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return blocked("%v", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return blocked("%v", err)
	}
	if err := ifr.SetInet4Addr([]byte{127, 0, 0, 1}); err != nil {
		return blocked("%v", err)
	}
	return unlessError(unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr), "the address is set")
}

func impersonate(g *Ground) Result {
	return each(g.Upstreams, "the service has no upstream", func(address string) Result {
		to, family, err := sockaddr(address)
		if err != nil {
			return notApplicable(err.Error())
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return blocked("%v", err)
		}
		defer unix.Close(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		if err = unix.Bind(fd, to); err == nil {
			err = unix.Listen(fd, 1)
		}
		return unlessError(err, "listens on "+address)
	})
}

func openDevice(paths ...string) func(*Ground) Result {
	return func(*Ground) Result {
		return each(paths, "", func(p string) Result {
			f, err := os.OpenFile(p, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				return blocked("%v", err)
			}
			f.Close()
			return succeeded("opened %s", p)
		})
	}
}
