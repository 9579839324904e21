package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/durable"
)

const (
	idFile   = "id"
	lockFile = "lock"
	farmFile = "farm.json"
	pkiDir   = "pki"
	nodeFile = "node.pem"

	// maxID bounds a name, in bytes: it becomes part of subjects, keys and lines of text.
	maxID = 64
	// maxFile bounds what is read of the directory's small files, in bytes.
	maxFile = 1 << 20
)

// ErrInUse: another process has the data directory.
var ErrInUse = errors.New("another process uses it")

// Data is a data directory that this process alone uses.
type Data struct {
	dir  string
	lock *os.File
}

// Open takes a data directory, which is made if need be, for this process. Close gives it back; so does the end of the
// process, however it comes.
func Open(dir string) (*Data, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: %w; choose another one", dir, cause(err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s cannot be written to: %w; choose another one", dir, cause(err))
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("data directory %s: %w; stop that one first, or choose another directory", dir, err), lock.Close())
	}
	return &Data{dir, lock}, nil
}

// Close lets others have the directory.
func (d *Data) Close() error { return d.lock.Close() }

// Path is a file or directory in the data directory.
func (d *Data) Path(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }

// PKI is the directory with the node's certificate and, at coordinators, the farm's authority.
func (d *Data) PKI() string { return d.Path(pkiDir) }

// Credentials is the file with the node's certificate and key.
func (d *Data) Credentials() string { return d.Path(pkiDir, nodeFile) }

// ID is the node's name: the one that is kept, else what was asked for, else the name of the host and four random hex
// digits. KeepID keeps it, once it is the node's.
func (d *Data) ID(asked string) (string, error) {
	text, err := d.read(idFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	kept := strings.TrimSpace(string(text))
	switch {
	case kept != "" && asked != "" && asked != kept:
		return "", fmt.Errorf("--id %s: data directory %s belongs to %s; leave --id out, or use a directory of its own for each", asked, d.dir, kept)
	case kept != "":
		return kept, CheckID(kept)
	case asked != "":
		return asked, CheckID(asked)
	}
	return newID()
}

// KeepID makes a name the one that the directory belongs to.
func (d *Data) KeepID(id string) error {
	if err := CheckID(id); err != nil {
		return err
	}
	return d.write(idFile, []byte(id+"\n"))
}

// CheckID says what is wrong with a name.
func CheckID(id string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("--id %q: a name has 1 to %d letters, digits, dots, dashes and underscores", id, maxID)
	}
	return nil
}

func newID() (string, error) {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	host, _, _ = strings.Cut(host, ".")
	host = strings.Map(func(r rune) rune {
		if CheckID(string(r)) != nil {
			return '-'
		}
		return r
	}, host)
	suffix := make([]byte, 2)
	if _, err := rand.Read(suffix); err != nil {
		return "", fmt.Errorf("choose an id: %w", err)
	}
	return host[:min(len(host), maxID-5)] + "-" + hex.EncodeToString(suffix), nil
}

// Place is where a farm is, as a node last heard.
type Place struct {
	Farm         string   `json:"farm"`
	Coordinators []string `json:"coordinators"`    // host:port of each API
	Buses        []string `json:"buses"`           // URLs
	Store        string   `json:"store,omitempty"` // URL of the shared cache
}

// Place reads what Remember wrote; a zero Place when there is nothing, or nothing that makes sense.
func (d *Data) Place() (p Place) {
	if text, err := d.read(farmFile); err == nil && json.Unmarshal(text, &p) != nil {
		return Place{}
	}
	return p
}

// Remember keeps where the farm is for the next start, when the address that it was joined at may be gone.
func (d *Data) Remember(p Place) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return d.write(farmFile, append(text, '\n'))
}

func (d *Data) read(name string) ([]byte, error) {
	text, err := os.ReadFile(d.Path(name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.Path(name), err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes, so it is none of ours", d.Path(name), maxFile)
	}
	return text, nil
}

// write replaces a file whole or not at all, whatever happens meanwhile.
func (d *Data) write(name string, text []byte) error {
	if err := durable.Replace(d.Path(name), text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", d.Path(name), cause(err))
	}
	return nil
}

// cause is what the system said, without the path that the sentence names already.
func cause(err error) error {
	var no unix.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
