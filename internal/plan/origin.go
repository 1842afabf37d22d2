package plan

import "strings"

// Origin is where browsers find a host of the gateway: scheme and authority, as they write them (RFC 6454). An IPv6 address may stand in brackets.
func (p *Plan) Origin(host string) string {
	_, port, ok := cutLast(p.Gateway.Listen, ":")
	host = strings.Trim(host, "[]")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if !ok || port == "443" {
		return "https://" + host
	}
	return "https://" + host + ":" + port
}
