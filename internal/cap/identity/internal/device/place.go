package device

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Place is where an address probably is. The zero Place is unknown.
type Place struct {
	City    string // in English, may be empty
	Country string // ISO 3166-1 alpha-2, may be empty
	Lat     float64
	Lon     float64
	Radius  float64 // kilometres that it may be off; 0 with Located false
	Located bool    // whether Lat and Lon say something
}

// String is like "Berlin, DE".
func (p Place) String() string {
	if p.City != "" && p.Country != "" {
		return p.City + ", " + p.Country
	}
	return p.City + p.Country
}

// Places looks up addresses in a GeoIP City or Country file that the operator brings. It is safe for concurrent use,
// except Close.
type Places struct{ db *maxminddb.Reader }

// OpenPlaces opens and verifies an .mmdb file. It is mapped into memory.
func OpenPlaces(path string) (*Places, error) {
	db, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open GeoIP database: %w", err)
	}
	// A damaged file shows now, and not at somebody's sign-in.
	if err := db.Verify(); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open GeoIP database: %w", err)
	}
	return &Places{db: db}, nil
}

// Close unmaps the file. No Lookup may run.
func (p *Places) Close() error {
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("close GeoIP database: %w", err)
	}
	return nil
}

// Lookup returns where an address is; the zero Place when the file doesn't say. A nil Places knows nothing.
func (p *Places) Lookup(a netip.Addr) (Place, error) {
	if p == nil || !a.IsValid() {
		return Place{}, nil
	}
	var r struct {
		City struct {
			Names struct {
				English string `maxminddb:"en"`
			} `maxminddb:"names"`
		} `maxminddb:"city"`
		Country struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Location struct {
			Lat    *float64 `maxminddb:"latitude"`
			Lon    *float64 `maxminddb:"longitude"`
			Radius uint32   `maxminddb:"accuracy_radius"`
		} `maxminddb:"location"`
	}
	if err := p.db.Lookup(a.Unmap().WithZone("")).Decode(&r); err != nil {
		return Place{}, fmt.Errorf("look up place: %w", err)
	}
	out := Place{City: word(r.City.Names.English), Country: word(r.Country.Code)}
	if l := r.Location; l.Lat != nil && l.Lon != nil {
		if !(math.Abs(*l.Lat) <= 90 && math.Abs(*l.Lon) <= 180) { // NaN is out of range too
			return out, errors.New("look up place: coordinates are out of range")
		}
		out.Lat, out.Lon, out.Radius, out.Located = *l.Lat, *l.Lon, float64(l.Radius), true
	}
	return out, nil
}

func word(s string) string {
	if len(s) > 100 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return s
}

const earthRadius = 6371.0 // kilometres

// Distance between two places on the great circle, in kilometres, at least: what either may be off is taken away. 0
// when one isn't located.
func Distance(a, b Place) float64 {
	if !a.Located || !b.Located {
		return 0
	}
	rad := math.Pi / 180
	sinLat, sinLon := math.Sin((b.Lat-a.Lat)*rad/2), math.Sin((b.Lon-a.Lon)*rad/2)
	h := sinLat*sinLat + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*sinLon*sinLon // haversine
	return max(0, 2*earthRadius*math.Asin(math.Min(1, math.Sqrt(h)))-a.Radius-b.Radius)
}

// Limits of travel: an airliner does 900 km/h, and below 500 km the databases err too often.
const (
	fastest  = 1000.0 // km/h
	shortest = 500.0  // km
)

// Impossible reports whether nobody could have gone from one place to the other in that time; a time below zero
// counts as none.
func Impossible(from, to Place, in time.Duration) bool {
	d := Distance(from, to)
	return d >= shortest && d > fastest*max(in, 0).Hours()
}
