package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/up"
)

func newCACommand(e cli.Env) *cobra.Command {
	c := cli.Running("ca", "Print the root certificate of the running application, to trust the gateway", 0, func(p up.Paths, c *cobra.Command, _ []string) error {
		resp, err := p.Admin().Do(cli.Background(c), http.MethodGet, "/v1/ca.pem", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(e.Out, resp.Body); err != nil {
			return fmt.Errorf("read certificate: %w", err)
		}
		return nil
	})
	c.Long = `Print the root certificate of the running application (PEM). The gateway's certificate comes from it,
unless the model names another, so a client that trusts it can connect without a warning:

  curl      ward ca > ward-ca.pem && curl --cacert ward-ca.pem https://localhost:8443/
  Debian    ward ca | sudo tee /usr/local/share/ca-certificates/ward.crt && sudo update-ca-certificates
  Firefox   Settings, Privacy & Security, View Certificates, Authorities, Import
  Chromium  Settings, Privacy and security, Security, Manage certificates, Authorities, Import

Whoever holds this application's key can sign for any name under this root: trust it on a development
machine, and take it away again when you no longer need it. For the public, name a certificate of your own
under gateway: tls: in ward.yaml.`
	return c
}
