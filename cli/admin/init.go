package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/outfile"
	"github.com/kiln-farm/kiln/internal/pki"
)

const (
	// firstTokens is how long the tokens of kiln init are valid.
	firstTokens = 24 * time.Hour
	dateOnly    = time.DateOnly
	adminFile   = "admin.pem"
)

func NewInit(env ui.Env) *cobra.Command {
	var data, name, id string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init --data DIR",
		Short: "Create a farm: its certificate authority, its first coordinator, and join tokens",
		Long: `Make a new farm in the data directory of its first coordinator: the authority that signs every certificate of the farm,
the coordinator's own certificate, and DIR/admin.pem, the credentials of its first administrator. Prints join tokens for
a coordinator and a builder, which are valid for a day. Nothing is started.`,
		Example: `  kiln init --data /var/lib/kiln --farm lab
  kiln coordinator --data /var/lib/kiln --listen 10.0.0.1:7300
  kiln farm status --farm https://10.0.0.1:7300 --credentials /var/lib/kiln/admin.pem`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) (err error) {
			if data == "" {
				return ui.Usagef("kiln init needs --data DIR, the data directory of the farm's first coordinator")
			}
			if err := node.CheckID(name); err != nil {
				return ui.Usagef("%s", strings.Replace(err.Error(), "--id", "--farm", 1))
			}
			d, err := node.Open(data)
			if err != nil {
				return ui.Usagef("%w", err)
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			born, err := initFarm(d, name, id, time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return ui.WriteJSON(env.Stdout, born)
			}
			_, err = fmt.Fprint(env.Stdout, born.text(data))
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the farm's first coordinator")
	cmd.Flags().StringVar(&name, "farm", "kiln", "name of the farm")
	cmd.Flags().StringVar(&id, "id", "", "name of the first coordinator (default: the host's name and four random digits)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// newFarmFacts is what kiln init tells.
type newFarmFacts struct {
	Farm        string    `json:"farm"`
	ID          string    `json:"id"`
	Authority   string    `json:"authority_sha256"`
	Admin       string    `json:"admin"` // path
	Coordinator string    `json:"coordinator_token"`
	Builder     string    `json:"builder_token"`
	Expires     time.Time `json:"tokens_expire"`
}

// initFarm makes the files of a new farm. The directory with the authority gets its name last, so that what was
// interrupted can be begun again.
func initFarm(d *node.Data, name, asked string, now time.Time) (*newFarmFacts, error) {
	if _, err := os.Stat(d.PKI()); err == nil {
		return nil, ui.Usagef("there is a farm in %s already: kiln coordinator --data %s starts it; for another one choose another directory", d.Path(), d.Path())
	}
	id, err := d.ID(asked)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	authority, err := pki.NewAuthority(name, now)
	if err != nil {
		return nil, err
	}
	made, err := os.MkdirTemp(d.Path(), ".pki-")
	if err != nil {
		return nil, outfile.DiskError(d.Path(), err)
	}
	defer os.RemoveAll(made) // after the rename there is nothing to remove
	if err := authority.Save(made); err != nil {
		return nil, err
	}
	admin := d.Path(adminFile)
	for _, c := range []struct {
		who  pki.Identity
		path string
	}{
		{pki.Identity{Farm: name, Name: id, Role: pki.RoleCoordinator}, filepath.Join(made, filepath.Base(d.Credentials()))},
		{pki.Identity{Farm: name, Name: "admin", Role: pki.RoleAdmin}, admin},
	} {
		if err := authority.Issue(c.who, c.path, now); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(authority.Certificate())
	facts := &newFarmFacts{Farm: name, ID: id, Admin: admin, Authority: hex.EncodeToString(sum[:]), Expires: now.Add(firstTokens).UTC().Truncate(time.Second)}
	for role, token := range map[pki.Role]*string{pki.RoleCoordinator: &facts.Coordinator, pki.RoleBuilder: &facts.Builder} {
		if *token, err = authority.Token(pki.Claims{Farm: name, Role: role, Expires: facts.Expires}); err != nil {
			return nil, err
		}
	}
	if err := d.KeepID(id); err != nil {
		return nil, err
	}
	if err := os.Rename(made, d.PKI()); err != nil {
		return nil, outfile.DiskError(d.Path(), err)
	}
	return facts, nil
}

func (f *newFarmFacts) text(data string) string {
	return fmt.Sprintf(`farm %s, first coordinator %s

start the coordinator; others reach it at HOST:
  kiln coordinator --data %s --listen HOST:7300 --store s3://BUCKET?endpoint=https://S3HOST

more coordinators, each on a host of its own, until %s:
  kiln coordinator --data DIR --listen OTHERHOST:7300 --store … --join HOST:7300 --token \
    %s

builders, until then as well:
  kiln builder --data DIR --join HOST:7300 --token \
    %s

look at it, and let people in:
  kiln farm status --farm https://HOST:7300 --credentials %s
  kiln farm token --role submit --farm https://HOST:7300 --credentials %s
`, f.Farm, f.ID, data, f.Expires.Local().Format("2006-01-02 15:04"), f.Coordinator, f.Builder, f.Admin, f.Admin)
}
