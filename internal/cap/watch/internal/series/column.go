package series

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// A column is the numbers of one series in one block, a row each. Encoded it is
//
//	runs     uvarints: rows present, absent, present … until all rows are told
//	head     a byte: predictor | coding<<2 | scale<<4
//	base     varint
//	residues what the predictor leaves of each row that is present, as the coding says
//
// and ends after the runs if no row is present. All numbers are divided by 10^scale first.

// absent marks a row in which a series had no sample. It's no number that Append takes.
const absent = math.MinInt64

// maxRows bounds the rows of a block: two hours at 15 s.
const maxRows = 512

// The predictors: what a row is expected to be.
const (
	lowest   = iota // the base, which is the least of all: best where most are zero
	middle          // the base, which is their mean: best for a steady rate, which scatters around it
	previous        // the row before (of increases that is the delta of deltas): best for what changes slowly
	predictors
)

// The codings of residues.
const (
	none   = iota // all are zero
	sparse        // few aren't: their number, then for each the distance from the one before, and itself
	rice          // a byte k, then each as its upper bits in unary and its lower k bits
	codings
)

const (
	maxScale = 6
	maxRice  = 40 // bits that a residue may have below its unary part
	escape   = 24 // a unary part so long is followed by all 64 bits instead
)

var errDamaged = errors.New("damaged")

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendColumn encodes rows, at most maxRows.
func appendColumn(b []byte, rows []int64) []byte {
	var room [maxRows]int64
	present := room[:0]
	for i := 0; i < len(rows); {
		start := i
		for ; i < len(rows) && rows[i] != absent; i++ {
			present = append(present, rows[i])
		}
		b = binary.AppendUvarint(b, uint64(i-start))
		for start = i; i < len(rows) && rows[i] == absent; i++ {
		}
		if i > start {
			b = binary.AppendUvarint(b, uint64(i-start))
		}
	}
	if len(present) == 0 {
		return b
	}
	scale := shrink(present)
	var space [predictors][maxRows]uint64
	best := shape{cost: math.MaxInt}
	var residues []uint64
	for p := range predictors {
		base, r := predict(p, present, space[p][:0])
		if s := measure(r); s.cost < best.cost {
			best, residues = s, r
			best.predictor, best.base = p, base
		}
	}
	b = append(b, byte(best.predictor|best.coding<<2|scale<<4))
	b = binary.AppendVarint(b, best.base)
	return best.append(b, residues)
}

// shrink divides all numbers by the greatest power of ten that leaves them whole.
func shrink(v []int64) (scale int) {
	for ; scale < maxScale; scale++ {
		zero := true
		for _, x := range v {
			if x%10 != 0 {
				return scale
			}
			zero = zero && x == 0
		}
		if zero {
			return scale
		}
		for i := range v {
			v[i] /= 10
		}
	}
	return scale
}

// predict returns the base, and what is left of each number.
func predict(predictor int, v []int64, into []uint64) (base int64, residues []uint64) {
	switch predictor {
	case lowest:
		base = v[0]
		for _, x := range v {
			base = min(base, x)
		}
		for _, x := range v {
			into = append(into, uint64(x)-uint64(base))
		}
	case middle:
		var sum float64
		for _, x := range v {
			sum += float64(x)
		}
		base = int64(sum / float64(len(v)))
		for _, x := range v {
			into = append(into, zigzag(x-base))
		}
	default:
		base = v[0]
		before := base
		for _, x := range v {
			into = append(into, zigzag(x-before))
			before = x
		}
	}
	return base, into
}

// shape is how a column is encoded.
type shape struct {
	predictor, coding int
	base              int64
	k                 uint
	cost              int // bits, about
}

// measure finds the cheapest coding.
func measure(residues []uint64) shape {
	var some, gap, few int
	var sum float64
	for _, u := range residues {
		gap++
		if u == 0 {
			continue
		}
		some++
		few += 8 * (uvarintLen(uint64(gap)) + uvarintLen(u))
		gap = 0
		sum += float64(u)
	}
	if some == 0 {
		return shape{coding: none}
	}
	best := shape{coding: sparse, cost: few + 8}
	mean := bits.Len64(uint64(sum / float64(len(residues))))
	for k := max(mean-2, 0); k <= min(mean, maxRice); k++ {
		cost := 8 + len(residues)*(k+1)
		for _, u := range residues {
			if q := u >> k; q < escape {
				cost += int(q)
			} else {
				cost += escape + 64
			}
		}
		if cost < best.cost {
			best = shape{coding: rice, k: uint(k), cost: cost}
		}
	}
	return best
}

func uvarintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

func (s *shape) append(b []byte, residues []uint64) []byte {
	switch s.coding {
	case sparse:
		count, at := uint64(0), 0
		for _, u := range residues {
			if u != 0 {
				count++
			}
		}
		b = binary.AppendUvarint(b, count)
		for i, u := range residues {
			if u != 0 {
				b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(i-at)), u)
				at = i
			}
		}
	case rice:
		w := bitWriter{b: append(b, byte(s.k))}
		for _, u := range residues {
			if q := u >> s.k; q < escape {
				w.put(1<<q-1, uint(q)+1)
				w.put(u&(1<<s.k-1), s.k)
				continue
			}
			w.put(1<<escape-1, escape)
			w.put(u&math.MaxUint32, 32)
			w.put(u>>32, 32)
		}
		b = w.end()
	}
	return b
}

// bitWriter writes numbers of up to 56 bits, the lowest bit first.
type bitWriter struct {
	b   []byte
	acc uint64
	n   uint // bits in acc, fewer than 8 between calls
}

func (w *bitWriter) put(v uint64, n uint) {
	for w.acc, w.n = w.acc|v<<w.n, w.n+n; w.n >= 8; w.n -= 8 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) end() []byte {
	if w.n > 0 {
		w.b = append(w.b, byte(w.acc))
	}
	return w.b
}

// readColumn decodes one column into rows, which has its length, and returns what follows it. Hostile bytes give an error or wrong numbers, in time
// that grows with the rows alone.
func readColumn(b []byte, rows []int64) (rest []byte, err error) {
	runs, b, err := readRuns(b, len(rows))
	if err != nil {
		return nil, err
	}
	n := 0
	for i := 0; i < len(runs); i += 2 {
		n += runs[i]
	}
	if n > 0 {
		if b, err = readNumbers(b, rows[:n]); err != nil {
			return nil, err
		}
	}
	if n < len(rows) {
		spread(rows, runs, n)
	}
	return b, nil
}

// readRuns reads the lengths of runs: present, absent, present …, together as many as there are rows.
func readRuns(b []byte, rows int) (runs []int, rest []byte, err error) {
	for told := 0; told < rows; {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(rows-told) || n == 0 && len(runs) > 0 {
			return nil, nil, errDamaged
		}
		runs, b, told = append(runs, int(n)), b[size:], told+int(n)
	}
	return runs, b, nil
}

// spread moves the n numbers at the beginning of rows to where they belong, from the last to the first.
func spread(rows []int64, runs []int, n int) {
	to := len(rows)
	for i := len(runs) - 1; i >= 0; i-- {
		from := to - runs[i]
		if i%2 == 0 {
			copy(rows[from:to], rows[n-runs[i]:n])
			n -= runs[i]
		} else {
			for j := from; j < to; j++ {
				rows[j] = absent
			}
		}
		to = from
	}
}

func readNumbers(b []byte, v []int64) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, errDamaged
	}
	predictor, coding, scale := int(b[0]&3), int(b[0]>>2&3), int(b[0]>>4)
	base, size := binary.Varint(b[1:])
	if size <= 0 || predictor >= predictors || coding >= codings || scale > maxScale {
		return nil, errDamaged
	}
	b = b[1+size:]
	switch coding {
	case none:
		clear(v)
	case sparse:
		b, err = readSparse(b, v)
	case rice:
		b, err = readRice(b, v)
	}
	if err != nil {
		return nil, err
	}
	switch predictor {
	case lowest:
		for i := range v {
			v[i] += base
		}
	case middle:
		for i, u := range v {
			v[i] = base + unzigzag(uint64(u))
		}
	case previous:
		for i, u := range v {
			base += unzigzag(uint64(u))
			v[i] = base
		}
	}
	if scale > 0 {
		by := int64(math.Pow10(scale))
		for i := range v {
			v[i] *= by
		}
	}
	return b, nil
}

func readSparse(b []byte, v []int64) ([]byte, error) {
	clear(v)
	count, size := binary.Uvarint(b)
	if size <= 0 || count > uint64(len(v)) {
		return nil, errDamaged
	}
	b = b[size:]
	for at := uint64(0); count > 0; count-- {
		gap, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errDamaged
		}
		u, m := binary.Uvarint(b[n:])
		if m <= 0 || gap >= uint64(len(v))-at {
			return nil, errDamaged
		}
		at += gap
		v[at], b = int64(u), b[n+m:]
	}
	return b, nil
}

func readRice(b []byte, v []int64) ([]byte, error) {
	if len(b) == 0 || b[0] > maxRice {
		return nil, errDamaged
	}
	k, b := uint(b[0]), b[1:]
	mask, acc := uint64(1)<<k-1, uint64(0)
	n, at, i := uint(0), 0, 0 // bits in acc, the byte that follows them, the row
	for ; i < len(v); i++ {
		q := uint(bits.TrailingZeros64(^acc))
		if q+1+k > n {
			if at+8 > len(b) {
				break
			}
			acc |= binary.LittleEndian.Uint64(b[at:]) << (n & 63)
			at += int(63-n) / 8
			n |= 56
			if q = uint(bits.TrailingZeros64(^acc)); q >= escape || q+1+k > n {
				break
			}
		}
		v[i] = int64(uint64(q)<<(k&63) | acc>>((q+1)&63)&mask)
		acc >>= (q + 1 + k) & 63
		n -= q + 1 + k
	}
	pos := uint(at)*8 - n
	for ; i < len(v); i++ { // what is long, and what is near the end
		q := uint(bits.TrailingZeros64(^word(b, pos)))
		if q >= escape {
			v[i] = int64(word(b, pos+escape)&math.MaxUint32 | word(b, pos+escape+32)<<32)
			pos += escape + 64
			continue
		}
		v[i] = int64(uint64(q)<<k | word(b, pos+q+1)&mask)
		pos += q + 1 + k
	}
	end := (pos + 7) / 8
	if end > uint(len(b)) {
		return nil, errDamaged
	}
	return b[end:], nil
}

// word is at least 57 bits from pos on; beyond the end they are zero.
func word(b []byte, pos uint) uint64 {
	at := pos / 8
	if at+8 <= uint(len(b)) {
		return binary.LittleEndian.Uint64(b[at:]) >> (pos % 8)
	}
	var last [8]byte
	if at < uint(len(b)) {
		copy(last[:], b[at:])
	}
	return binary.LittleEndian.Uint64(last[:]) >> (pos % 8)
}
