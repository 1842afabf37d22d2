package trial

import "context"

// Checkout writes the files of a commit into a folder: without filters, hooks or anything else that a repository may name.
func Checkout(ctx context.Context, repo, commit, dir string) error {
	return checkout(ctx, repo, commit, dir)
}
