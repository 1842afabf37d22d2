package plan

import "strings"

// Origin is where browsers find a host of the gateway: scheme and authority, as they write them (RFC 6454). An IPv6 address may stand in brackets.
func (p *Plan) Origin(host string) string { return "https://" + p.Authority(host) }

// Authority is a host of the gateway with its port, unless that is the one that https implies (RFC 3986, 3.2).
func (p *Plan) Authority(host string) string {
	_, port, ok := cutLast(p.Gateway.Listen, ":")
	host = strings.Trim(host, "[]")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if !ok || port == "443" {
		return host
	}
	return host + ":" + port
}
