package h1

// Request is the head of a request. Its strings alias the Reader's buffer, as
// those of Field do. It may be used again for the next request.
type Request struct {
	Method string
	Target string // as it came: package canon judges it
	Host   string // "" only in HTTP/1.0
	Minor  uint8  // HTTP/1.Minor
	Fields []Field
	Body   Framing
	// Close tells that the client can't, or won't, send another request.
	Close bool
	// Upgrade is the value of Upgrade if Connection names it, else "".
	Upgrade string
	// Continue tells that the client waits for 100 (Continue).
	Continue bool
	// Nominated are the fields that Connection names, to be dropped (RFC 9110
	// §7.6.1), without those that have a Kind.
	Nominated []string
}

// Request parses a request head from what is buffered. It returns false without an
// error if the head isn't complete: Fill, and call again. Then the body may be
// read, and Next begins the next request. A refusal is an Error.
func (r *Reader) Request(q *Request) (bool, error) {
	end, err := r.headEnd()
	if end == 0 || err != nil {
		if err == nil && r.w > r.r && !methodStart(r.buf[r.r]) {
			err = ErrRequestLine // binary on a plain port: say so at once
		}
		return false, err
	}
	if end == r.r+2 {
		return false, ErrRequestLine
	}
	head := r.buf[r.r:end]
	r.r, r.head, r.scan = end, end, 0
	*q = Request{Fields: q.Fields[:0], Nominated: q.Nominated[:0]}
	first, rest := line(head)
	if err := q.parseLine(first); err != nil {
		return false, err
	}
	if q.Fields, err = parseFields(q.Fields, rest, r.lim.Fields); err != nil {
		return false, err
	}
	return true, q.settle()
}

func methodStart(c byte) bool { return class[c]&classToken != 0 }

// parseLine splits a request line (RFC 9112 §3): two single spaces, no leniency.
func (q *Request) parseLine(b []byte) error {
	i := 0
	for i < len(b) && class[b[i]]&classToken != 0 {
		i++
	}
	if i == 0 || i == len(b) || b[i] != ' ' {
		return ErrRequestLine
	}
	q.Method = view(b[:i])
	b = b[i+1:]
	for i = 0; i < len(b) && b[i] > ' ' && b[i] < 0x7f; i++ {
	}
	if i == 0 || i == len(b) || b[i] != ' ' {
		return ErrRequestLine
	}
	q.Target = view(b[:i])
	return q.parseVersion(b[i+1:])
}

func (q *Request) parseVersion(b []byte) error {
	switch string(b) {
	case "HTTP/1.1":
		q.Minor = 1
	case "HTTP/1.0":
		q.Minor = 0
	default:
		if len(b) == 8 && string(b[:5]) == "HTTP/" && digit(b[5]) && b[6] == '.' && digit(b[7]) {
			return ErrVersion
		}
		return ErrRequestLine
	}
	return nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// settle draws framing and connection options from the fields.
func (q *Request) settle() error {
	var fr framing
	hosts, upgrades, named := 0, 0, connOptions{names: q.Nominated}
	for i := range q.Fields {
		f := &q.Fields[i]
		switch f.Kind {
		case Host:
			q.Host = f.Value
			hosts++
		case ContentLength:
			if fr.lengths > 0 {
				return ErrLength
			}
			if err := fr.length(f.Value); err != nil {
				return err
			}
		case TransferEncoding:
			if f.Value != "chunked" {
				return ErrCoding
			}
			fr.codings++
		case Connection:
			if err := named.add(f.Value); err != nil {
				return err
			}
		case Upgrade:
			q.Upgrade = f.Value
			upgrades++
		case Expect:
			if !EqualFold(f.Value, "100-continue") {
				return ErrExpect
			}
			q.Continue = q.Minor == 1
		}
	}
	q.Nominated = named.names
	q.Close = named.close || q.Minor == 0
	if !named.upgrade || q.Minor == 0 {
		q.Upgrade = ""
	}
	if upgrades > 1 {
		return ErrUpgrade
	}
	if hosts > 1 || hosts == 0 && q.Minor == 1 {
		return ErrHostCount
	}
	return q.frame(fr)
}

func (q *Request) frame(fr framing) error {
	if err := fr.check(q.Minor); err != nil {
		return err
	}
	switch {
	case fr.codings == 1:
		q.Body = Framing{Kind: Chunked}
	case fr.lengths == 1 && fr.n > 0:
		q.Body = Framing{Kind: Length, Length: fr.n}
	}
	if q.Method == "TRACE" && q.Body.Kind != None {
		return ErrTraceBody
	}
	if q.Body.Kind == None {
		q.Continue = false
	}
	return nil
}

// framing counts the framing fields of a message.
type framing struct {
	lengths, codings int
	n                int64
}

func (fr *framing) length(v string) error {
	n, err := parseLength(v)
	if err != nil || fr.lengths > 0 && n != fr.n {
		return ErrLength
	}
	fr.lengths, fr.n = 1, n
	return nil
}

// check refuses combinations that RFC 9112 §6.3 calls likely attacks.
func (fr *framing) check(minor uint8) error {
	switch {
	case fr.codings > 1:
		return ErrCoding
	case fr.codings == 1 && fr.lengths > 0:
		return ErrBothFramings
	case fr.codings == 1 && minor == 0:
		return ErrCodingOn10
	}
	return nil
}

// connOptions gathers Connection fields.
type connOptions struct {
	close, upgrade bool
	names          []string
}

func (c *connOptions) add(value string) error {
	framed := false
	ok := eachToken(value, func(t string) {
		switch {
		case EqualFold(t, "close"):
			c.close = true
		case EqualFold(t, "upgrade"):
			c.upgrade = true
		case EqualFold(t, "keep-alive"):
		default:
			switch known(t) {
			case End:
				c.names = append(c.names, t)
			case Host, ContentLength, TransferEncoding:
				framed = true
			}
		}
	})
	if !ok || framed {
		// To drop a framing field because the client says so would change what
		// the message is.
		return ErrConnection
	}
	return nil
}
