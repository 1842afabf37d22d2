package shop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wardhq/ward/sdk/seal"
)

// table keeps orders in the database.
type table struct {
	pool *pgxpool.Pool
	keys *seal.Client // nil: addresses lie there as they are. HOLE
}

// openTable connects when it must, and until ctx ends.
func openTable(ctx context.Context, s *site) (*table, error) {
	// HOLE, a password in the environment, where the URL holds one.
	cfg, err := pgxpool.ParseConfig(s.env("DATABASE_URL"))
	if err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // the toy knows no prepared statements
	t := &table{}
	if t.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	context.AfterFunc(ctx, t.pool.Close)
	if s.env("SEAL") != "on" {
		return t, nil
	}
	// A data key is forgotten after half a second instead of five minutes: the demo doesn't wait.
	if t.keys, err = seal.New(ctx, seal.Config{MaxAge: 500 * time.Millisecond}); err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	return t, nil
}

// ReadOrders logs in to the database at a URL and returns what all orders are there.
func ReadOrders(ctx context.Context, url string) (string, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return "", err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close(ctx) }() // everything has been read
	rows, err := c.Query(ctx, sqlAll)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(values, "\n"), err
}

// place says what is sealed in an order: another order's address, or another field, doesn't open as this one.
func place(order string) seal.Context {
	return seal.Context{Class: "addresses", Table: "orders", Column: "address", Row: order}
}

// Erased stands where an address was whose customer's keys are shredded.
const Erased = "(erased)"

func (t *table) put(ctx context.Context, v Order) error {
	if t.keys != nil {
		b, err := t.keys.For(v.User).Seal(ctx, []byte(v.Address), place(v.ID))
		if err != nil {
			return fmt.Errorf("write order %s: %w", v.ID, err)
		}
		v.Address = base64.StdEncoding.EncodeToString(b)
	}
	b, err := json.Marshal(v)
	if err == nil {
		_, err = t.pool.Exec(ctx, sqlPut, v.ID, v.User, string(b))
	}
	if err != nil {
		return fmt.Errorf("write order %s: %w", v.ID, err)
	}
	return nil
}

// get reads one order; false if there is none.
func (t *table) get(ctx context.Context, id string) (Order, bool, error) {
	all, err := t.query(ctx, sqlGet, id)
	if err != nil || len(all) == 0 {
		return Order{}, false, err
	}
	return all[0], true, nil
}

func (t *table) all(ctx context.Context) ([]Order, error) { return t.query(ctx, sqlAll) }

func (t *table) query(ctx context.Context, sql string, args ...any) ([]Order, error) {
	rows, err := t.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	out := []Order{}
	for _, text := range values {
		var v Order
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("read orders: %w", err)
		}
		if err := t.open(ctx, &v); err != nil {
			return nil, fmt.Errorf("read order %s: %w", v.ID, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// open makes the address readable, unless its customer is erased.
func (t *table) open(ctx context.Context, v *Order) error {
	if t.keys == nil {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(v.Address)
	if err == nil {
		b, err = t.keys.For(v.User).Unseal(ctx, b, place(v.ID))
	}
	if errors.Is(err, seal.ErrDecrypt) || errors.Is(err, seal.ErrRefused) {
		b, err = []byte(Erased), nil
	}
	v.Address = string(b)
	return err
}

// count is how many orders there are.
func (t *table) count(ctx context.Context) (n int, err error) {
	var text string
	if err := t.pool.QueryRow(ctx, sqlCount).Scan(&text); err != nil {
		return 0, fmt.Errorf("count orders: %w", err)
	}
	_, err = fmt.Sscan(text, &n)
	return n, err
}

// forget deletes a customer's orders.
func (t *table) forget(ctx context.Context, owner string) error {
	if _, err := t.pool.Exec(ctx, sqlForget, owner); err != nil {
		return fmt.Errorf("forget a customer: %w", err)
	}
	return nil
}
