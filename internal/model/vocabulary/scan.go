package vocabulary

import "github.com/wardhq/ward/internal/model/form"

func scanForm() *form.Form {
	path := textForm("a path", form.RENonEmpty)
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: []form.Field{
		form.Key("fail", "The lowest rating with which ward scan fails; high if absent.", wordForm("a rating, or never", []string{"low", "medium", "high", "critical", "never"})),
		form.Key("refuse", "exploited: ward up starts no service with a hole that is known to be exploited.", wordForm("exploited or nothing", []string{"exploited", "nothing"})),
		form.Key("max_age", "How old the advisories may be; 7d if absent.", textForm("a number of days such as 7d", form.REDays)),
		form.Key("skip", "Folders and files that aren't looked at.", someForm("a path, or a list", path)),
		form.Key("ignore", "Findings that somebody answers for, until a day.", &form.Form{Shape: form.ListShape, What: "a list of findings", Min: 1, Elem: ignoreForm("id")}),
	}}
}

func updateForm() *form.Form {
	return &form.Form{Shape: form.ObjectShape, What: "a mapping", Fields: []form.Field{
		form.Key("wait", "How long a release must have been seen before it is taken; 3d if absent.", textForm("a number of days such as 3d", form.REDays)),
		form.Key("limit", "How many proposals may be open at a time; 5 if absent.", wholeForm("a number of proposals", 1, 100)),
		form.Key("merge", "What is merged without a person, when everything has passed; never if absent.", wordForm("patch, minor or never", []string{"patch", "minor", "never"})),
		form.Key("forge", "Where proposals are opened: github or gitlab; branches alone if absent.", wordForm("github or gitlab", []string{"github", "gitlab"})),
		form.Key("ignore", "Parts that aren't updated, until a day.", &form.Form{Shape: form.ListShape, What: "a list of parts", Min: 1, Elem: ignoreForm("package")}),
	}}
}

// ignoreForm is what somebody answers for; what names the one key that it can't do without.
func ignoreForm(what string) *form.Form {
	text := textForm("a text", form.RENonEmpty)
	f := &form.Form{Shape: form.ObjectShape, What: "a mapping with " + what + ", reason and until", Inline: true, Always: []string{what, "reason", "until"}}
	if what == "id" {
		f.Fields = append(f.Fields, form.Key("id", "The advisory (any of its names), or the rule.", text))
	}
	f.Fields = append(
		f.Fields,
		form.Key("package", "The part.", text),
		form.Key("path", "The file, or the folder above it.", text),
		form.Key("reason", "Why.", text),
		form.Key("until", "The last day, YYYY-MM-DD.", textForm("a date such as 2031-01-31", form.REDate)),
	)
	if what == "id" {
		f.Fields = append(f.Fields, form.Key("vex", "OpenVEX's word for the reason.", wordForm("a justification of OpenVEX", Justifications())))
	}
	return f
}

// Justifications are OpenVEX's reasons why a product isn't affected (OpenVEX 0.2.0, "Status Justifications").
func Justifications() []string {
	return []string{
		"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
	}
}
