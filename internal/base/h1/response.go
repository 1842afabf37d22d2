package h1

// Response is the head of a response. Its strings alias the Reader's buffer, as
// those of Field do. It may be used again for the next response.
type Response struct {
	Status    int
	Reason    string
	Minor     uint8
	Fields    []Field
	Body      Framing
	Close     bool     // the connection ends with this response
	Upgrade   string   // value of Upgrade if Connection names it
	Nominated []string // as in Request
}

// Response parses a response head from what is buffered, as Request does. The
// framing depends on the method of the request (RFC 9112 §6.3). An interim
// response (1xx) has no body: call Next and parse again.
func (r *Reader) Response(p *Response, method string) (bool, error) {
	end, err := r.headEnd()
	if end == 0 || err != nil {
		return false, err
	}
	if end == r.r+2 {
		return false, ErrStatusLine
	}
	head := r.buf[r.r:end]
	r.r, r.head, r.scan = end, end, 0
	*p = Response{Fields: p.Fields[:0], Nominated: p.Nominated[:0]}
	first, rest := line(head)
	if err := p.parseLine(first); err != nil {
		return false, err
	}
	if p.Fields, err = parseFields(p.Fields, rest, r.lim.Fields); err != nil {
		return false, err
	}
	return true, p.settle(method)
}

// parseLine reads a status line (RFC 9112 §4). The space before an absent reason
// may be absent too: many servers leave it out.
func (p *Response) parseLine(b []byte) error {
	if len(b) < 12 || string(b[:7]) != "HTTP/1." || b[7] != '0' && b[7] != '1' || b[8] != ' ' {
		return ErrStatusLine
	}
	p.Minor = b[7] - '0'
	for _, c := range b[9:12] {
		if !digit(c) {
			return ErrStatusLine
		}
		p.Status = p.Status*10 + int(c-'0')
	}
	if p.Status < 100 || p.Status > 599 {
		return ErrStatusLine
	}
	if len(b) == 12 {
		return nil
	}
	if b[12] != ' ' {
		return ErrStatusLine
	}
	for _, c := range b[13:] {
		if class[c]&classValue == 0 {
			return ErrStatusLine
		}
	}
	p.Reason = view(b[13:])
	return nil
}

func (p *Response) settle(method string) error {
	var fr framing
	named := connOptions{names: p.Nominated}
	for i := range p.Fields {
		f := &p.Fields[i]
		switch f.Kind {
		case ContentLength:
			if err := fr.length(f.Value); err != nil {
				return err
			}
		case TransferEncoding:
			if !EqualFold(f.Value, "chunked") {
				return ErrCoding
			}
			fr.codings++
		case Connection:
			if err := named.add(f.Value); err != nil {
				return err
			}
		case Upgrade:
			p.Upgrade = f.Value
		}
	}
	p.Nominated = named.names
	p.Close = named.close || p.Minor == 0
	if !named.upgrade {
		p.Upgrade = ""
	}
	if err := fr.check(p.Minor); err != nil {
		return err
	}
	switch {
	case p.Status < 200, p.Status == 204, p.Status == 304, method == "HEAD":
		if fr.codings > 0 && p.Status < 205 && method != "HEAD" {
			return ErrCoding // RFC 9112 §6.1: not in 1xx and 204
		}
	case fr.codings == 1:
		p.Body = Framing{Kind: Chunked}
	case fr.lengths == 1:
		if fr.n > 0 {
			p.Body = Framing{Kind: Length, Length: fr.n}
		}
	default:
		p.Body = Framing{Kind: UntilClose}
		p.Close = true
	}
	return nil
}
