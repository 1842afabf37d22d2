package seal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// mover is the environment variable that makes this test binary change seals until it is killed.
const mover = "WARD_TEST_SEAL_MOVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(mover); dir != "" {
		fmt.Println(moveOnAndOn(dir))
		os.Exit(1) // only an error ends it
	}
	os.Exit(m.Run())
}

func fileSeals(dir string) [2]KeyFile {
	return [2]KeyFile{{filepath.Join(dir, "a")}, {filepath.Join(dir, "b")}}
}

func moveOnAndOn(dir string) error {
	ctx := context.Background()
	seals := fileSeals(dir)
	fmt.Println("begun")
	for n := rand.IntN(2); ; n++ { // to either first: a slow machine may come to no second
		st, err := Load(dir)
		if err != nil {
			return err
		}
		root, err := openByEither(ctx, st, seals)
		if err != nil {
			return err
		}
		next, err := st.Under(ctx, seals[n%2], root)
		if err != nil {
			return err
		}
		if _, err := next.NewKit(root); n%3 == 0 && err != nil {
			return err
		}
		if err := next.Save(dir); err != nil {
			return err
		}
	}
}

func openByEither(ctx context.Context, st *State, seals [2]KeyFile) (secret.Bytes, error) {
	root, err := st.Open(ctx, seals[0])
	if err != nil {
		root, err = st.Open(ctx, seals[1])
	}
	return root, err
}

// TestKilledChangeOfSealLosesNothing: whenever the process dies, the root opens by the old seal or the new one.
func TestKilledChangeOfSealLosesNothing(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	seals := fileSeals(dir)
	for _, k := range seals {
		if err := k.Make(); err != nil {
			t.Fatal(err)
		}
	}
	root, st, err := New(ctx, seals[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Save(dir); err != nil {
		t.Fatal(err)
	}
	points, by := 200, [2]int{}
	if testing.Short() {
		points = 20
	}
	for i := range points {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), mover+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatalf("point %d: the child doesn't begin: %v", i, err)
		}
		time.Sleep(time.Duration(rand.IntN(15000)) * time.Microsecond) // the random point
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 1 {
			t.Fatalf("point %d: the child ended by itself: %v", i, err)
		}
		st, err := Load(dir)
		if err != nil {
			t.Fatalf("point %d: %v", i, err)
		}
		got, err := openByEither(ctx, st, seals)
		if err != nil || !same(got, root) {
			t.Fatalf("point %d: the root is lost: %v", i, err)
		}
		for n, k := range seals {
			if _, err := st.Open(ctx, k); err == nil {
				by[n]++
			}
		}
	}
	if by[0] == 0 || by[1] == 0 {
		t.Errorf("the seal never changed: %v", by)
	}
}
