package vocabulary

import (
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/phrase"
)

func secretForm() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping, {} for a value that people set", Inline: true, Fields: []form.Field{
		form.Key("generate", "Ward makes the value: password, key or certificate.", wordForm("password, key or certificate", []string{"password", "key", "certificate"})),
		form.Key("sealed", "An age file made by `ward secrets seal`, which may lie in git.", textForm("a path", form.RENonEmpty)),
		form.Key("rotate", "How old a generated value gets, such as 30d.", textForm("a number of days such as 30d", form.REDays)),
		form.Key("canary", "Nobody uses it: whoever shows it has stolen it.", boolForm()),
	}}
}

func keyForm() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping with purpose and rotate", Inline: true, Fields: []form.Field{
		form.Key("purpose", "encrypt (if absent), lookup, mac, ES256, EdDSA or RS256.", wordForm("a purpose", Purposes())),
		form.Key("rotate", "How old a version gets, such as 90d.", textForm("a number of days such as 90d", form.REDays)),
	}}
}

func keyUsesForm() *form.Form {
	uses := someForm("a use of the key, or a list", wordForm("a use of a key", KeyUses()))
	uses.Unique = true
	return &form.Form{Shape: form.NamesShape, What: "uses by key", Name: form.REClass, Elem: uses}
}

func secretUsesForm() *form.Form {
	return &form.Form{Shape: form.NamesShape, What: "deliveries by secret", Name: form.RELabel, Elem: textForm(`"file", "file restart", "file signal HUP" or "env NAME"`, phrase.REDelivery)}
}

func authForm() *form.Form {
	text := textForm(`such as "bearer secret:NAME"`, phrase.REAuth)
	return &form.Form{Shape: form.EitherShape, What: "how Ward authenticates, or a mapping with use and for", Text: text, Elem: &form.Form{
		Shape: form.ObjectShape, What: "a mapping with use and for", Inline: true, Always: []string{"use", "for"}, Fields: []form.Field{
			form.Key("use", `Such as "bearer secret:NAME".`, text),
			form.Key("for", "The calls that it is added to.", grantsForm(routeForm())),
		},
	}}
}

func databaseForm() *form.Form {
	login := textForm(`a user with a secret, such as "shop secret:shop-password"`, phrase.RELogin)
	user := &form.Form{Shape: form.ObjectShape, What: "a mapping with login, role or grants", Inline: true, OneOf: []string{"login", "role", "grants"}, Fields: []form.Field{
		form.Key("login", "A fixed account and its password's secret.", login),
		form.Key("role", "The role that the users made for it are members of.", textForm("a role's plain lower-case name", phrase.RERole)),
		form.Key("grants", `What the users made for it may do, such as "SELECT, INSERT ON orders".`, someForm("a right, or a list", textForm("a right such as \"SELECT ON orders\"", phrase.RERights))),
		form.Key("life", "How long a made user is valid unless it is renewed; 1h if absent.", textForm("a duration such as 30m", form.REDuration)),
	}}
	return &form.Form{Shape: form.ObjectShape, What: "a mapping with at and users", Always: []string{"at", "users"}, Fields: []form.Field{
		form.Key("at", "The service or external that it runs at, with :PORT if it has several tcp ports.", textForm("a service or an external", form.RETarget)),
		form.Key("name", "Its name in the server; the key if absent.", textForm("a database's plain name", phrase.RERole)),
		form.Key("tls", "Whether Ward speaks verified TLS to it: verify (if absent for an external), or off.", wordForm("verify or off", []string{"verify", "off"})),
		form.Key("ca", "PEM file of the roots to verify it with; the system's if absent.", textForm("a path", form.RENonEmpty)),
		form.Key("admin", "An account that may make users, and its password's secret.", login),
		form.Key("users", "Who each service is there.", &form.Form{Shape: form.NamesShape, What: "users by service", Name: form.RELabel, Elem: user, Min: 1}),
	}}
}
