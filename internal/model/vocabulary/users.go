package vocabulary

import "github.com/wardhq/ward/internal/model/form"

func usersForm() *form.Form {
	names := func(what string) *form.Form {
		f := listForm(what, textForm("a name (a-z, 0-9, hyphen)", form.RELabel))
		f.Unique, f.Max = true, 256
		return f
	}
	url := func(what string) *form.Form { return textForm(what, form.REURL) }
	path := textForm("a path", form.RENonEmpty)
	text := textForm("a text", form.RENonEmpty)
	span := textForm("a duration such as 8h", form.REDuration)
	factors := listForm("a list of passkey and password", wordForm("passkey or password", []string{"passkey", "password"}))
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: []form.Field{
		form.Key("host", "The host name of the sign-in pages, which is their own; id.<gateway's host> if absent.", textForm("a host name", form.REHost)),
		form.Key("name", "The application's name as people see it.", text),
		form.Key("color", "The pages' colour, such as #1a6b4f.", textForm("a colour such as #1a6b4f", form.REColor)),
		form.Key("texts", "Own words for texts of the pages, by key.", &form.Form{Shape: form.NamesShape, What: "texts by key", Name: form.REClass, Elem: text}),
		form.Key("register", "Whether people may make accounts for themselves; closed if absent.", wordForm("open or closed", Registers())),
		form.Key("second_factor", "Whether everybody needs a second factor; required if absent.", wordForm("required or optional", Factors())),
		form.Key("sign_in", "With what people sign in; passkey and password if absent.", factors),
		form.Key("groups", "The groups that rules may name.", names("a list of groups")),
		form.Key("roles", "The roles that rules may name.", names("a list of roles")),
		form.Key("session", "How long people stay signed in.", &form.Form{Shape: form.ObjectShape, What: "a mapping with idle and absolute", Inline: true, Fields: []form.Field{
			form.Key("idle", "Without a request; 8h if absent.", span),
			form.Key("absolute", "In any case; 24h if absent.", span),
		}}),
		form.Key("mail", "How mail is sent; without it, it is written to .ward/mail.", &form.Form{Shape: form.ObjectShape, What: "a mapping with from and smtp", Always: []string{"from", "smtp"}, Inline: true, Fields: []form.Field{
			form.Key("from", "The sender.", text),
			form.Key("smtp", "smtp://host:port (with STARTTLS) or smtps://host:port.", textForm("smtp://host:port or smtps://host:port", form.RESMTP)),
			form.Key("user", "The name to sign in with.", text),
			form.Key("password_file", "The file that holds the password.", path),
		}}),
		form.Key("sms", "How text messages are sent.", &form.Form{Shape: form.ObjectShape, What: "a mapping with webhook or twilio", Inline: true, OneOf: []string{"webhook", "twilio"}, Fields: []form.Field{
			form.Key("webhook", "The URL that gets each message as JSON.", url("a URL")),
			form.Key("twilio", "The base URL of a Twilio-compatible API.", url("a URL")),
			form.Key("account", "The account at that API.", text),
			form.Key("from", "The sender's number.", text),
			form.Key("secret_file", "The file of the webhook's key, or of the API's token.", path),
		}}),
		form.Key("providers", "OpenID providers that people may sign in with.", &form.Form{Shape: form.NamesShape, What: "providers by name", Name: form.RELabel, Elem: &form.Form{Shape: form.ObjectShape, What: "a mapping with issuer and client_id", Always: []string{"issuer", "client_id"}, Inline: true, Fields: []form.Field{
			form.Key("title", "What the button says; the name if absent.", text),
			form.Key("issuer", "Its issuer URL.", url("a URL")),
			form.Key("client_id", "What it calls this application.", text),
			form.Key("secret_file", "The file of the client's secret.", path),
			form.Key("scopes", "What to ask for; openid, email and profile if absent.", listForm("a list of scopes", text)),
		}}}),
		form.Key("clients", "OAuth clients.", &form.Form{Shape: form.NamesShape, What: "clients by name", Name: form.RELabel, Elem: clientForm()}),
		form.Key("issuers", "Foreign authorities whose bearer tokens the gateway accepts.", &form.Form{Shape: form.NamesShape, What: "issuers by name", Name: form.RELabel, Elem: &form.Form{Shape: form.ObjectShape, What: "a mapping with issuer and audience", Always: []string{"issuer", "audience"}, Inline: true, Fields: []form.Field{
			form.Key("issuer", "Its issuer URL.", url("a URL")),
			form.Key("audience", "What its tokens name this application.", text),
			form.Key("jwks", "The URL of its keys; that of its discovery document if absent.", url("a URL")),
		}}}),
		form.Key("geoip", "A MaxMind database (.mmdb), for impossible travel.", path),
		form.Key("breached", "A filter of breached passwords, made by ward users breached.", path),
		form.Key("flags", "What to do on each red flag.", flagsForm()),
	}}
}

func clientForm() *form.Form {
	url := textForm("a URL", form.RENonEmpty)
	urls := func() *form.Form { return someForm("a URL, or a list", url) }
	yes := &form.Form{What: "true or false", Types: form.IsBool}
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: []form.Field{
		form.Key("title", "Its name for people.", textForm("a text", form.RENonEmpty)),
		form.Key("public", "It can't keep a secret: a browser or a phone.", yes),
		form.Key("redirects", "Its exact redirect URIs.", urls()),
		form.Key("logout_redirects", "Its exact post-logout redirect URIs.", urls()),
		form.Key("backchannel_logout", "Where it is told of sign-outs.", url),
		form.Key("grants", "What it may ask with; authorization_code and refresh_token if absent.", listForm("a list of grants", wordForm("a grant", ClientGrants()))),
		form.Key("scopes", "What it may ask for; openid, profile, email and offline_access if absent.", listForm("a list of scopes", textForm("a scope", form.RENonEmpty))),
		form.Key("audiences", "The resources that it may ask tokens for.", listForm("a list of URIs", url)),
		form.Key("secret_sha256", "The SHA-256 (hex) of its random secret.", textForm("64 hexadecimal digits", form.RESHA256)),
		form.Key("jwks_file", "The file of its public keys, for private_key_jwt.", textForm("a path", form.RENonEmpty)),
		form.Key("service", "The service that it is: it shows its SVID.", textForm("a service's name", form.RELabel)),
		form.Key("nonce_only", "It is confidential, sends a nonce, and no PKCE challenge.", yes),
		form.Key("rs256", "Its ID tokens are signed with RS256.", yes),
		form.Key("dpop", "Its tokens must be bound to a key.", yes),
		form.Key("consent", "People are asked before it gets anything.", yes),
	}}
}

func flagsForm() *form.Form {
	f := &form.Form{Shape: form.ObjectShape, What: "responses by flag"}
	for _, name := range Flags() {
		f.Fields = append(f.Fields, form.Key(name, "What to do on this flag.", someForm("a response, or a list", wordForm("a response", Responses()))))
	}
	return f
}
