package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/finding"
)

// object is JSON that is written in place.
type object = map[string]any

// slack is an incoming webhook with blocks, as Slack, Mattermost and others take it.
type slack struct{ hook }

// Limits of Slack's blocks.
const (
	slackHeader  = 150  // characters
	slackSection = 3000 // characters
)

// Send implements Channel.
func (s slack) Send(ctx context.Context, m *Message) error {
	if m.Kind == Resolved {
		return nil
	}
	blocks := []object{{"type": "header", "text": object{"type": "plain_text", "text": clip(m.Title(), slackHeader), "emoji": false}}}
	for _, l := range m.Lines() {
		blocks = append(blocks, object{"type": "section", "text": object{"type": "mrkdwn", "text": mrkdwn(clip(l, slackSection/5)), "verbatim": true}})
	}
	return s.post(ctx, object{"text": mrkdwn(m.Title()), "blocks": blocks, "unfurl_links": false, "unfurl_media": false}, nil)
}

// mrkdwn writes text so that nothing in it names a person, a channel, or a link ("Formatting text for app surfaces", docs.slack.dev).
func mrkdwn(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// teams is a webhook of Power Automate's Workflows, with an Adaptive Card. Its text runs know no Markdown.
type teams struct{ hook }

// Send implements Channel.
func (t teams) Send(ctx context.Context, m *Message) error {
	if m.Kind == Resolved {
		return nil
	}
	run := func(s string, more object) object {
		text := object{"type": "TextRun", "text": s}
		for k, v := range more {
			text[k] = v
		}
		return object{"type": "RichTextBlock", "inlines": []object{text}}
	}
	color := "Attention"
	if m.Severity < finding.High {
		color = "Default"
	}
	body := []object{run(m.Title(), object{"weight": "Bolder", "size": "Medium", "color": color})}
	for _, l := range m.Lines() {
		body = append(body, run(l, nil))
	}
	card := object{"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": body}
	return t.post(ctx, object{"type": "message", "attachments": []object{{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card}}}, nil)
}

// ntfy publishes to a topic of ntfy.sh, or of a server of one's own ("Publishing", docs.ntfy.sh).
type ntfy struct {
	hook
	token secret.Bytes // may be empty
}

// ntfyMost is what isn't made an attachment of, in bytes; the server's own limit is 4,096.
const ntfyMost = 4000

// Send implements Channel.
func (n ntfy) Send(ctx context.Context, m *Message) error {
	if m.Kind == Resolved {
		return nil
	}
	priority, tag := "3", "information_source"
	switch m.Severity {
	case finding.Critical:
		priority, tag = "5", "rotating_light"
	case finding.High:
		priority, tag = "4", "warning"
	case finding.Low:
		priority = "2"
	}
	header := map[string]string{"Content-Type": "text/plain; charset=utf-8", "Title": mime.BEncoding.Encode("utf-8", clip(m.Title(), 200)), "Priority": priority, "Tags": tag}
	if token := n.token.Reveal(); len(token) > 0 {
		header["Authorization"] = "Bearer " + string(token)
	}
	return n.post(ctx, []byte(clip(m.text(), ntfyMost)), header)
}

// pagerDuty is PagerDuty's Events API v2 ("Send an Alert Event", developer.pagerduty.com): a message's key is the alert's.
type pagerDuty struct {
	hook
	key secret.Bytes
}

// pagerSummary is the longest summary, in characters.
const pagerSummary = 1024

// Send implements Channel.
func (p pagerDuty) Send(ctx context.Context, m *Message) error {
	event := object{"routing_key": string(p.key.Reveal()), "event_action": "trigger", "dedup_key": m.Key, "client": "Ward"}
	if m.Kind == Resolved {
		event["event_action"] = "resolve"
		return p.post(ctx, event, nil)
	}
	payload := object{
		"summary": clip(m.Title(), pagerSummary), "source": m.App, "timestamp": m.Time.UTC().Format(time.RFC3339), "severity": pagerSeverity(m.Severity), "group": m.App,
		"custom_details": object{"findings": m.Items, "count": m.Count, "also": m.Also, "text": m.text()},
	}
	if m.Rule != "" {
		payload["class"] = m.Rule
	}
	if len(m.Items) > 0 {
		payload["component"] = m.Items[0].Subject
	}
	if m.Kind == Tried {
		event["dedup_key"] = "ward/" + m.App + "/test"
	}
	if len(m.Items) > 0 && m.Items[0].Link != "" {
		event["client_url"] = m.Items[0].Link
	}
	event["payload"] = payload
	return p.post(ctx, event, nil)
}

// pagerSeverity is PagerDuty's word.
func pagerSeverity(s finding.Severity) string {
	switch s {
	case finding.Critical:
		return "critical"
	case finding.High:
		return "error"
	case finding.Medium:
		return "warning"
	}
	return "info"
}

// webhook sends JSON, signed as Standard Webhooks 1.0.0 says, with HMAC-SHA256 (v1).
type webhook struct {
	hook
	key secret.Bytes
}

// Lengths of a webhook's key in bytes, as Standard Webhooks has them.
const (
	leastKey = 24
	mostKey  = 64
)

// webhookKey reads a key: whsec_ and base64, or the bytes themselves.
func webhookKey(text secret.Bytes) (secret.Bytes, error) {
	b := text.Reveal()
	if coded, ok := strings.CutPrefix(string(b), "whsec_"); ok {
		var err error
		if b, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return secret.Bytes{}, errors.New("what follows whsec_ isn't base64") // the cause would show where
		}
	}
	if len(b) < leastKey || len(b) > mostKey {
		return secret.Bytes{}, errors.New("the key needs 24 to 64 bytes; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return secret.New(slices.Clone(b)), nil
}

// Send implements Channel.
func (w webhook) Send(ctx context.Context, m *Message) error {
	if m.Kind == Resolved {
		return nil
	}
	body := []byte(marshal(object{"type": m.Kind, "timestamp": m.Time.UTC().Format(time.RFC3339Nano), "data": object{"title": m.Title(), "message": m}}))
	at := strconv.FormatInt(w.clock.Now().Unix(), 10) // of this try
	mac := hmac.New(sha256.New, w.key.Reveal())
	_, _ = mac.Write([]byte(m.ID + "." + at + "."))
	_, _ = mac.Write(body)
	return w.post(ctx, body, map[string]string{
		"webhook-id": m.ID, "webhook-timestamp": at, "webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	})
}
