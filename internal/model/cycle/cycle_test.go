package cycle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name string
		out  [][]int
		want [][]int
	}{
		{"none", [][]int{{1}, {2}, {}}, nil},
		{"itself", [][]int{{0}}, nil},
		{"two", [][]int{{1}, {0}}, [][]int{{0, 1}}},
		{"the shortest", [][]int{{1, 3}, {2}, {3}, {0}}, [][]int{{0, 3}}},
		{"two groups", [][]int{{1}, {0, 2}, {3}, {4}, {2}}, [][]int{{0, 1}, {2, 3, 4}}},
	} {
		if diff := cmp.Diff(c.want, Find(c.out)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
	deep := make([][]int, 100_000)
	for i := range deep {
		deep[i] = []int{(i + 1) % len(deep)}
	}
	if got := Find(deep); len(got) != 1 || len(got[0]) != len(deep) {
		t.Errorf("%d circles", len(got))
	}
}
