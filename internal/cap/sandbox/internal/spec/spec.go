// Package spec is the contract between the launcher, outside, and the stages
// that build a sandbox from within: what one sandbox is made of.
//
// A Spec holds no secret that the service may not see. It travels once, over an
// inherited socket, never through argv or the environment.
package spec

// Spec is one sandbox. All paths are absolute and free of symbolic links,
// unless said otherwise.
type Spec struct {
	Name string   `json:"name"` // service name, the host name inside
	Argv []string `json:"argv"`
	// Exe is the program to execute, as a path inside.
	Exe string   `json:"exe"`
	Env []string `json:"env"` // the whole environment, "K=V"
	Dir string   `json:"dir"`
	// UID and GID that the service runs as, inside and out.
	UID int `json:"uid"`
	GID int `json:"gid"`
	// HostRoot: the setup stage is real root and there is no user namespace.
	HostRoot bool `json:"host_root"`

	Mounts   []Mount   `json:"mounts"`
	Hide     []string  `json:"hide"` // paths that show empty, wherever a mount would show them
	Dirs     []string  `json:"dirs"` // empty folders to mount in
	Links    []Link    `json:"links"`
	Files    []File    `json:"files"`
	ExecTmp  bool      `json:"exec_tmp"` // /tmp may hold libraries to map (jvm)
	Execs    []string  `json:"execs"`    // the only paths that may be executed: files, or folders of the loader
	Upstream []Address `json:"upstream"` // listeners to open, in this order
	Binds    []int     `json:"binds"`    // ports that the service may listen on
	Names    []Name    `json:"names"`    // what the DNS responder and /etc/hosts know
	Limits   Limits    `json:"limits"`
	Off      Off       `json:"off"`
	Secrets  bool      `json:"secrets,omitempty"` // there is a folder of secrets; see Secrets
	// Scoped keeps the host's abstract sockets out of reach also where its network is kept (Ward's agent).
	Scoped bool `json:"scoped,omitempty"`
	// Alone says that nothing of the outside is in reach, so that every port is the sandbox's own (tests of a job that serve and ask themselves).
	Alone bool `json:"alone,omitempty"`
	// Watched has init look at programs, connections and writes before the kernel decides on them, to tell of those that it will refuse.
	Watched bool `json:"watched,omitempty"`
	// SecretMemory allows memory that the kernel itself doesn't see (memfd_secret(2)), for Ward's own keys.
	SecretMemory bool `json:"secret_memory,omitempty"`
}

// Mount shows Source, a path of the host, at Target.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Write    bool   `json:"write,omitempty"`
	Optional bool   `json:"optional,omitempty"` // absent on this host: leave out
	// OwnerUID and OwnerGID are the owner of Source that UID and GID stand for (an
	// id-mapped mount); only with HostRoot, -1 for none. The launcher makes the user
	// namespace for it, and sets IDMap to its place among the files that follow the
	// output files in the first message, from 1; 0 for none.
	OwnerUID int `json:"owner_uid"`
	OwnerGID int `json:"owner_gid"`
	IDMap    int `json:"id_map,omitempty"`
	// Exec lets what is in a writable folder be executed: what a job builds, it runs.
	Exec bool `json:"exec,omitempty"`
	// Socket marks a folder with a Unix socket in it that the service may use.
	Socket bool `json:"socket,omitempty"`
}

// Link is a symbolic link inside.
type Link struct{ Path, To string }

// File is a small read-only file inside.
type File struct{ Path, Text string }

// Address is a TCP listener inside.
type Address struct {
	IP   string `json:"ip"`
	Port int    `json:"port"`
}

// Name is one line of /etc/hosts.
type Name struct {
	IP    string   `json:"ip"`
	Hosts []string `json:"hosts"`
}

// Limits are resource limits; 0 means none beyond the host's.
type Limits struct {
	MemoryBytes int64 `json:"memory"` // RLIMIT_DATA, where no cgroup carries it
	PIDs        int   `json:"pids"`   // RLIMIT_NPROC
	OpenFiles   int   `json:"files"`
}

// Off switches single guards off. Only tests and the demo's "without Ward" side
// set it, to show that an attack works where the guard is missing.
type Off struct {
	Seccomp  bool `json:"seccomp,omitempty"`
	Landlock bool `json:"landlock,omitempty"`
	Root     bool `json:"root,omitempty"`    // keep the host's file system
	Network  bool `json:"network,omitempty"` // keep the host's network
}

// ToInit is what the launcher says to the stages. Exactly one field is set.
type ToInit struct {
	Spec   *Spec `json:"spec,omitempty"`   // first message; files: stdin, stdout, stderr, then user namespaces
	Start  bool  `json:"start,omitempty"`  // run Argv
	Signal int   `json:"signal,omitempty"` // to the service's process group
	Agent  bool  `json:"agent,omitempty"`  // file: a channel that asks for sockets
	// Deliver brings secrets, before Start and whenever one changes; file: a sealed memfd that holds Secrets as JSON.
	Deliver bool   `json:"deliver,omitempty"`
	Probe   *Probe `json:"probe,omitempty"` // files: stdin, stdout, stderr
}

// Probe runs Ward's own attack program under exactly the service's restrictions.
type Probe struct {
	ID   int      `json:"id"`
	Args []string `json:"args"`
}

// FromInit is what the stages say. Exactly one field is set.
type FromInit struct {
	Ready   *Ready `json:"ready,omitempty"` // files: the listeners, in the order of Upstream
	Started int    `json:"started,omitempty"`
	Exit    *Exit  `json:"exit,omitempty"`
	Error   string `json:"error,omitempty"` // setup is impossible; the sandbox ends
	Flag    *Flag  `json:"flag,omitempty"`
}

// Ready tells which layers stand.
type Ready struct {
	Landlock int  `json:"landlock"` // ABI version, 0 for none
	Listen   int  `json:"listen"`   // how many listeners came along in this message
	More     bool `json:"more"`     // another Ready message follows
}

// Exit is the end of the service's main process or of a probe.
type Exit struct {
	Probe  int `json:"probe,omitempty"` // Probe.ID, or 0 for the service
	Code   int `json:"code"`            // exit code, or -1
	Signal int `json:"signal,omitempty"`
}

// Flag is a sign of intrusion or of a forgotten grant.
type Flag struct {
	Kind   string `json:"kind"` // one of FlagKinds
	Detail string `json:"detail"`
}

// FlagKinds are what init tells of: names and ports that nobody declared, programs that may not be executed, connections and writes that lead
// nowhere, and refused system calls.
func FlagKinds() []string { return []string{"dns", "bind", "exec", "connect", "write", "syscall"} }

// SocketRequest asks the init of a sandbox for unconnected TCP sockets.
type SocketRequest struct {
	N int `json:"n"`
}

// Where secrets are inside: a file each below SecretsDir, and the whole memfd, whose descriptor SecretsFD names.
const (
	SecretsDir = "/run/secrets"
	SecretsFD  = "WARD_SECRETS_FD"
)

// MaxSecrets bounds what a service gets, in bytes of the memfd.
const MaxSecrets = 2 << 20

// Secrets are what one service gets.
type Secrets struct {
	Values map[string][]byte `json:"values"`        // by name; each is a file too, unless Env names it
	Env    map[string]string `json:"env,omitempty"` // environment variables: the secret of each
}
