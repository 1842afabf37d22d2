package leak

// Payment cards: ISO/IEC 7812 numbers of 13 to 19 digits with the check digit of its annex B (Luhn), that begin as an issuer's
// do, alone or in the groups that are printed on cards.

const (
	minCard = 13
	maxCard = 19
)

// findCards looks for card numbers in what is new, and returns where one could begin that isn't all there.
func (f *Finder) findCards(last bool) int {
	for i := f.digits; i < len(f.held); {
		before := f.before
		if i > 0 {
			before = f.held[i-1]
		}
		if c := f.held[i]; c < '2' || c > '6' || joins(before) { // no issuer's first digit
			i++
			continue
		}
		var number number
		if open := number.read(f.held[i:]); open && !last {
			f.digits = i
			return i
		}
		if n := f.cardIn(i, &number); n > 0 {
			f.report(Finding{Form: Card}, span{i, i + n})
			f.maskCard(i, n)
			i += n
		} else {
			i += number.ends[0] // the next group may begin one
		}
	}
	f.digits = len(f.held)
	return f.digits
}

// joins tells that what stands before a number makes it a part of something else.
func joins(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c == '%' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c >= 0x80
}

// goesOn tells the same of what stands behind it.
func (f *Finder) goesOn(end int) bool {
	if end >= len(f.held) {
		return false
	}
	c := f.held[end]
	if c == '.' || c == '-' { // the end of a sentence, or more digits
		return end+1 < len(f.held) && joins(f.held[end+1]) && f.held[end+1] != '.' && f.held[end+1] != '-'
	}
	return joins(c) && c != '%'
}

// number is digits, with single spaces or hyphens between groups.
type number struct {
	digits [maxCard + 1]byte // values 0 to 9
	count  int               // of digits
	groups int
	ends   [maxGroups]int // of groups, in bytes
	counts [maxGroups]int // of digits up to there
}

const maxGroups = 5

// read reads a number from its first digit on, and tells whether it, or what says whether it ends, isn't all there.
func (n *number) read(text []byte) (open bool) {
	n.groups = 1
	var separator byte
	i := 0
	for ; i < len(text); i++ {
		c := text[i]
		if c >= '0' && c <= '9' {
			if n.count < len(n.digits) {
				n.digits[n.count] = c - '0'
				n.count++
			}
			n.ends[n.groups-1], n.counts[n.groups-1] = i+1, n.count
			continue
		}
		next := i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9'
		if c != ' ' && c != '-' || separator != 0 && separator != c || n.groups == maxGroups || !next {
			break
		}
		separator = c
		n.groups++
	}
	open = i == len(text) || i+1 == len(text) && (text[i] == '.' || text[i] == '-' || text[i] == ' ')
	return open && n.count <= maxCard // a longer one is no card, however it goes on
}

// cardIn returns the length in bytes of the card's number that a number begins with, or 0.
func (f *Finder) cardIn(at int, n *number) int {
	for groups := n.groups; groups > 0; groups-- {
		digits := n.digits[:n.counts[groups-1]]
		if len(digits) >= minCard && len(digits) <= maxCard && !f.goesOn(at+n.ends[groups-1]) && grouped(n.counts[:groups]) && issued(digits) && luhn(digits) {
			return n.ends[groups-1]
		}
	}
	return 0
}

// grouped tells that the groups, by how many digits there are up to each one's end, are those of cards: 4-4-4-4, with 1 to 3
// behind it, 4-6-5 or 4-6-4.
func grouped(ends []int) bool {
	switch len(ends) {
	case 1:
		return true
	case 3:
		return ends[0] == 4 && ends[1] == 10
	case 4, 5:
		return ends[0] == 4 && ends[1] == 8 && ends[2] == 12 && ends[3] == 16
	default:
		return false
	}
}

// issued tells that a number begins as one of the large schemes' numbers do, and has their length.
func issued(d []byte) bool {
	prefix := func(digits int) int {
		v := 0
		for _, x := range d[:digits] {
			v = v*10 + int(x)
		}
		return v
	}
	n, two, three, four := len(d), prefix(2), prefix(3), prefix(4)
	switch {
	case d[0] == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34, two == 37: // American Express
		return n == 15
	case three >= 300 && three <= 305, two == 36, two == 38, two == 39: // Diners Club
		return n == 14
	case four >= 3528 && four <= 3589, four == 6011, three >= 644 && three <= 649, two == 65, two == 62: // JCB, Discover, UnionPay
		return n >= 16
	default:
		return false
	}
}

func luhn(d []byte) bool {
	sum := 0
	for i, x := range d {
		v := int(x)
		if (len(d)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// maskCard masks the digits of a number but the last four; what stands between them stays.
func (f *Finder) maskCard(from, length int) {
	left := 4
	for i := from + length - 1; i >= from; i-- {
		if c := f.held[i]; c < '0' || c > '9' {
			continue
		}
		if left > 0 {
			left--
			continue
		}
		f.masks = append(f.masks, span{i, i + 1})
	}
}
