package form

// The expressions of the small languages. They are what a JSON Schema can say;
// the functions that parse each language say the rest.
const (
	RELabel    = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	REDomain   = `^[a-z0-9._-]{1,255}$`
	REHostPort = `^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):[0-9]{1,5}$`
	REHost     = `^[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?$`
	REAddress  = `^[0-9a-fA-F.:]+(/[0-9]{1,3})?$`
	RETarget   = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?$`
	REListen   = `^(http|h2c|grpc|tcp)://:[0-9]{1,5}$`
	REEnvName  = `^[A-Za-z_][A-Za-z0-9_]*$`
	REClass    = `^[a-z][a-z0-9-]{0,62}$`
	RESize     = `^[1-9][0-9]{0,14}(kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`
	REDuration = `^[1-9][0-9]{0,4}[smh]$`
	REHours    = `^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$`
	REPercent  = `^[0-9]{1,2}(\.[0-9]{1,4})?%$`
	RELatency  = `^[1-9][0-9]{0,4}(ms|s)$`
	REDays     = `^[1-9][0-9]{0,3}d$`
	REDate     = `^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`
	REReady    = `^(tcp|none|GET /.*)$`
	REPath     = `/([^/?#\s]+/)*([^/?#\s]+)?`
	REGRPC     = `grpc (\*/\*|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/(\*|[A-Za-z_][A-Za-z0-9_]*))`
	REHTTP     = `(\*|[A-Z]+(,[A-Z]+)*) ` + REPath
	REGrant    = `^(any|tcp|(ws ` + REPath + `|` + REGRPC + `|` + REHTTP + `)( as user( mfa [1-9][0-9]{0,4}[smh])?)?)$`
	RERoute    = `^(ws ` + REPath + `|` + REGRPC + `|` + REHTTP + `)$`
	REWho      = `^(anyone|signed-in|(group|role):[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|user:[^\s@]+@[^\s@]+)$`
	REColor    = `^#[0-9a-fA-F]{6}$`
	REURL      = `^https?://[^\s#]+$`
	RESMTP     = `^smtps?://[A-Za-z0-9.:\[\]-]+$`
	RESHA256   = `^[0-9a-f]{64}$`
	RENonEmpty = `^[^\x00]+$`
)
