package intent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/durable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// BootTime is how long a boot may take: its token holds as long, and without one its address is believed as long.
const BootTime = 30 * time.Minute

// Store holds the last intent that an edge saw, in memory and on its disk: machines that are known boot from it when
// nobody else is there, also after a restart.
type Store struct {
	path string // empty: in memory only
	log  *slog.Logger
	now  atomic.Pointer[seen]

	mu      sync.Mutex // guards what follows, and writing
	changed []func(*kilnv1.Intent)
}

type seen struct {
	intent *kilnv1.Intent
	index  *fleet.Index
	files  map[string]File // of all releases, by digest
}

// File is a file of a release that machines may ask for.
type File struct {
	Ref     *kilnv1.FileRef
	release string
	Kernel  bool
	until   time.Time // not zero: its release has other files now, and machines that began with this one end with it
}

// Open reads what an edge saw last. A file that is damaged is as good as none: a new one comes.
func Open(path string, log *slog.Logger) (*Store, error) {
	i := &Store{path: path, log: log}
	in := &kilnv1.Intent{}
	if path != "" {
		data, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("read what machines boot: %w", err)
		default:
			if err := proto.Unmarshal(data, in); err != nil {
				log.Error("what machines boot is damaged on this disk, and is asked for anew", "file", path, "error", err)
				in = &kilnv1.Intent{}
			}
		}
	}
	i.now.Store(look(in, nil, time.Now()))
	return i, nil
}

// look makes the next view. before is nil for the first.
func look(in *kilnv1.Intent, before *seen, now time.Time) *seen {
	s := &seen{intent: in, index: fleet.NewIndex(in), files: map[string]File{}}
	releases := map[string]bool{}
	for _, r := range in.GetReleases() {
		releases[r.GetName()] = true
		for _, f := range r.GetPlatforms() {
			for _, ref := range FilesOf(f) {
				s.files[ref.GetDigest()] = File{Ref: ref, release: r.GetName(), Kernel: ref == f.GetKernel()}
			}
		}
	}
	if before == nil {
		return s
	}
	for digest, f := range before.files {
		if _, ok := s.files[digest]; ok || !releases[f.release] || !f.until.IsZero() && now.After(f.until) {
			continue // a release that was removed is not to be had any more
		}
		if f.until.IsZero() {
			f.until = now.Add(BootTime)
		}
		s.files[digest] = f
	}
	return s
}

// FilesOf are all files of a release for one platform.
func FilesOf(f *kilnv1.ReleaseFiles) []*kilnv1.FileRef {
	var all []*kilnv1.FileRef
	for _, ref := range append([]*kilnv1.FileRef{f.GetKernel(), f.GetUki()}, f.GetInitrds()...) {
		if ref.GetDigest() != "" {
			all = append(all, ref)
		}
	}
	return all
}

// Path is where the intent is kept; empty: in memory only.
func (i *Store) Path() string { return i.path }

// Now is the intent that is held. It must not be changed.
func (i *Store) Now() *kilnv1.Intent { return i.now.Load().intent }

// Revision of the intent that is held; 0 before the first.
func (i *Store) Revision() uint64 { return i.now.Load().intent.GetRevision() }

// Index finds machines in it.
func (i *Store) Index() *fleet.Index { return i.now.Load().index }

// Key is what boot tokens are made with; nil before the first intent.
func (i *Store) Key() []byte { return i.now.Load().intent.GetTokenKey() }

// File is a release's file of that digest. A release that was changed has its former files, too, for as long as a boot that
// began with them may take.
func (i *Store) File(digest string, now time.Time) (File, bool) {
	f, ok := i.now.Load().files[digest]
	return f, ok && (f.until.IsZero() || now.Before(f.until))
}

// OnChange has f called with every new intent, and with the one that is held.
func (i *Store) OnChange(f func(*kilnv1.Intent)) {
	i.mu.Lock()
	i.changed = append(i.changed, f)
	i.mu.Unlock()
	f(i.now.Load().intent)
}

// Set takes a newer intent. It is on disk before machines boot from it; where the disk takes nothing, they boot from it
// nevertheless.
func (i *Store) Set(in *kilnv1.Intent) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.path != "" {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(in)
		if err == nil {
			err = durable.Replace(i.path, data, 0o600)
		}
		if err != nil {
			i.log.Error("what machines boot could not be kept on this disk", "file", i.path, "error", err)
		}
	}
	i.now.Store(look(in, i.now.Load(), time.Now()))
	i.log.Info("what machines boot has changed", "revision", in.GetRevision(), "machines", len(in.GetMachines()), "groups", len(in.GetGroups()), "releases", len(in.GetReleases()))
	for _, f := range i.changed {
		f(in)
	}
}
