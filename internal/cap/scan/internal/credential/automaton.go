package credential

// automaton finds all keywords in one pass, whatever their case (Aho and Corasick, 1975). It doesn't change after it is made.
type automaton struct {
	class [256]uint8 // bytes that no keyword has are all one class: 0
	next  []uint16   // by state<<6 | class; keywords end at states with the flag
	words [][]uint16 // by state: the keywords that end there
}

const (
	accepting  = 1 << 15
	classBits  = 6
	maxClasses = 1 << classBits
)

// newAutomaton takes keywords in lower case, not empty, of at most 63 different bytes and 30,000 in all: a test checks it of our rules.
func newAutomaton(keywords []string) *automaton {
	a := &automaton{words: [][]uint16{nil}, next: make([]uint16, maxClasses)}
	classes := uint8(1)
	for i, w := range keywords {
		state := uint16(0)
		for j := range len(w) {
			c := w[j]
			if a.class[c] == 0 {
				a.class[c] = classes
				classes++
			}
			at := int(state)<<classBits | int(a.class[c])
			if a.next[at] == 0 {
				a.next[at] = uint16(len(a.words))
				a.words = append(a.words, nil)
				a.next = append(a.next, make([]uint16, maxClasses)...)
			}
			state = a.next[at]
		}
		a.words[state] = append(a.words[state], uint16(i))
	}
	for c := byte('a'); c <= 'z'; c++ {
		a.class[c-'a'+'A'] = a.class[c]
	}
	a.link()
	return a
}

// link fills in where to go on when a keyword breaks off, breadth first.
func (a *automaton) link() {
	fail := make([]uint16, len(a.words))
	queue := []uint16{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for c := range maxClasses {
			at := int(s)<<classBits | c
			child := a.next[at]
			back := uint16(0)
			if s != 0 {
				back = a.next[int(fail[s])<<classBits|c] &^ accepting
			}
			if child == 0 {
				a.next[at] = back
				continue
			}
			fail[child] = back
			a.words[child] = append(a.words[child], a.words[back]...)
			queue = append(queue, child)
		}
	}
	for i, s := range a.next {
		if len(a.words[s]) > 0 {
			a.next[i] = s | accepting
		}
	}
}

// find calls f with the keyword and its end for each that occurs.
func (a *automaton) find(src []byte, f func(word uint16, end int)) {
	s := uint16(0)
	for i, c := range src {
		s = a.next[int(s&^accepting)<<classBits|int(a.class[c]&(maxClasses-1))]
		if s&accepting != 0 {
			for _, w := range a.words[s&^accepting] {
				f(w, i+1)
			}
		}
	}
}
