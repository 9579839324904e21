package machines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// applyFlags say which files, and what becomes of what they do not name.
type applyFlags struct {
	access.Flags
	file   string
	prune  bool
	dryRun bool
}

func (f *applyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.Flags.Add(flags)
	flags.StringVarP(&f.file, "file", "f", "", "file, or folder of .yml files, that describes machines, groups, releases and subnets")
	flags.BoolVar(&f.prune, "prune", false, "also remove what the files do not name")
}

const applyLong = ` A file has lists of machines, groups, releases and, for a farm, subnets:

  machines:
    - {name: web-1, mac: 52:54:00:12:34:56, labels: {role: web}, address: 10.0.0.5/24}
  groups:
    - {name: web, selector: {role: web}, release: v1}
  releases:
    - {name: v1, build: hello}
  subnets:
    - {name: rack-a, prefix: 10.0.0.0/24, pools: [10.0.0.100-10.0.0.199], gateway: 10.0.0.1}

A release is of a build, by its name or id, or of files: platforms: {linux/amd64: {kernel: ./vmlinuz, initrd: [a.img]}}.
docs/edge.md has all of it, docs/dhcp.md of subnets.`

func NewApply(env ui.Env) *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply -f FILE|FOLDER",
		Short: "Apply descriptions of machines, groups, releases and subnets",
		Long:  "Apply descriptions of machines, groups, releases and subnets: all of it, or nothing." + applyLong,
		Example: `  kiln apply -f machines.yml
  kiln apply --farm https://kiln1:7300 --prune -f room/`,
		Args: ui.Between(0, 0, "no argument: name the file with -f"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runApply(cmd.Context(), env, &f) },
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "check it and say what would change")
	return cmd
}

func NewDiff(env ui.Env) *cobra.Command {
	f := applyFlags{dryRun: true}
	cmd := &cobra.Command{
		Use:     "diff -f FILE|FOLDER",
		Short:   "Show what kiln apply would change",
		Example: "  kiln diff -f machines.yml",
		Args:    ui.Between(0, 0, "no argument: name the file with -f"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runApply(cmd.Context(), env, &f) },
	}
	f.add(cmd)
	return cmd
}

func runApply(ctx context.Context, env ui.Env, f *applyFlags) error {
	if f.file == "" {
		return ui.Usagef("which machines? name a file or a folder with -f")
	}
	room, builds, err := openRooms(ctx, env, &f.Flags)
	if err != nil {
		return err
	}
	now, err := room.Intent(ctx)
	if err != nil {
		return err
	}
	next, parsed, err := f.read(ctx, now, builds)
	if err != nil {
		return err
	}
	if err := fleet.WriteDiff(env.Stdout, fleet.Diff(unseen(now, next), next)); err != nil {
		return err
	}
	change := fleet.Difference(now, next)
	if proto.Equal(change, &kilnv1.RoomCommand{Base: change.GetBase()}) {
		return nil
	}
	if faults := newFaults(now, next, parsed); len(faults) > 0 {
		return ui.Usagef("%s", strings.Join(faults, "\n"))
	}
	problems, err := room.Change(ctx, change, f.dryRun)
	if err == nil && len(problems) > 0 {
		err = ui.Usagef("%s", strings.Join(problems, "\n"))
	}
	return err
}

// newFaults are templates that cannot be filled for a machine and were not broken before, with the line that is wrong where the files
// have it.
func newFaults(now, next *kilnv1.Intent, parsed *fleet.Parsed) []string {
	known := map[string]bool{}
	for _, f := range config.Faults(now) {
		known[f.String()] = true
	}
	var out []string
	for _, f := range config.Faults(next) {
		if known[f.String()] {
			continue
		}
		text := f.String()
		var fault *config.Fault
		if errors.As(f.Err, &fault) {
			kind, name, _ := strings.Cut(fault.From, " ")
			if file, line, ok := parsed.Within(kind, name, "templates."+fault.Kind, f.Err); ok {
				text = fmt.Sprintf("%s:%d: %s", file, line, text)
			}
		}
		out = append(out, text)
	}
	return out
}

// read is the intent as the files would have it.
func (f *applyFlags) read(ctx context.Context, now *kilnv1.Intent, builds *history.Builds) (*kilnv1.Intent, *fleet.Parsed, error) {
	folder, files, err := readIntent(ctx, f.file)
	if err != nil {
		return nil, nil, ui.Usagef("%w", err)
	}
	var releases []string
	for _, r := range now.GetReleases() {
		releases = append(releases, r.GetName())
	}
	parsed, faults := fleet.Parse(files, fleet.Options{FS: folder, Releases: releases})
	if len(faults) > 0 {
		return nil, nil, ui.Usagef("%w", fleet.Faults(faults))
	}
	if err := fillReleases(ctx, builds, parsed, folder, f.dryRun); err != nil {
		return nil, nil, err
	}
	if f.prune {
		parsed.Intent.Revision, parsed.Intent.TokenKey = now.GetRevision(), now.GetTokenKey()
		return parsed.Intent, parsed, nil
	}
	next := proto.CloneOf(now)
	next.Machines = put(next.Machines, parsed.Intent.Machines)
	next.Groups = put(next.Groups, parsed.Intent.Groups)
	next.Releases = put(next.Releases, parsed.Intent.Releases)
	next.Subnets = put(next.Subnets, parsed.Intent.Subnets)
	return next, parsed, nil
}

// put replaces those of one name, and adds the others.
func put[T interface{ GetName() string }](all, more []T) []T {
	at := map[string]int{}
	for i, v := range all {
		at[v.GetName()] = i
	}
	for _, v := range more {
		if i, ok := at[v.GetName()]; ok {
			all[i] = v
		} else {
			all = append(all, v)
		}
	}
	return all
}

// unseen is now with the secrets of next where they are not shown to us, so that a difference says nothing of them.
func unseen(now, next *kilnv1.Intent) *kilnv1.Intent {
	now = proto.CloneOf(now)
	secrets := map[string]map[string]string{}
	for _, m := range next.GetMachines() {
		secrets[m.GetName()] = m.GetSecrets()
	}
	for _, m := range now.GetMachines() {
		for name, value := range m.GetSecrets() {
			if known, ok := secrets[m.GetName()][name]; ok && value == "" {
				m.Secrets[name] = known
			}
		}
	}
	return now
}

// maxIntent bounds a description, in bytes; package fleet says more to those that are smaller.
const maxIntent = 64 << 20

// readIntent reads a file or a folder.
func readIntent(ctx context.Context, path string) (fs.FS, []fleet.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, userfile.Cause(err))
	}
	if info.IsDir() {
		folder := userfile.FS(path)
		files, err := fleet.ReadDir(folder)
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("the folder %s has no .yml files", path)
		}
		return folder, files, err
	}
	data, err := userfile.Read(ctx, path, maxIntent)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, userfile.Cause(err))
	}
	return userfile.FS(filepath.Dir(path)), []fleet.File{{Name: filepath.Base(path), Data: data}}, nil
}

// fillReleases finds the builds of releases, and stores the files of others.
func fillReleases(ctx context.Context, builds *history.Builds, parsed *fleet.Parsed, folder fs.FS, dryRun bool) error {
	for _, r := range parsed.Intent.GetReleases() {
		if r.GetBuild() == "" {
			continue
		}
		build, err := builds.Find(ctx, r.GetBuild(), "")
		if err != nil {
			return fmt.Errorf("release %s: %w", r.GetName(), err)
		}
		if err := releaseOf(ctx, builds, build, r); err != nil {
			return fmt.Errorf("release %s: %w", r.GetName(), err)
		}
	}
	for _, u := range parsed.Uploads {
		d, size, err := upload(ctx, builds, folder, u.Path, dryRun)
		if err != nil {
			return ui.Usagef("%s:%d: %s of release %s: %w", u.File, u.Line, u.Path, u.Release, userfile.Cause(err))
		}
		u.Ref.Digest, u.Ref.Size = d.String(), size
	}
	return nil
}

// releaseOf fills a release with what a build made.
func releaseOf(ctx context.Context, builds *history.Builds, build *kilnv1.BuildRecord, r *kilnv1.Release) error {
	if build.GetState() != kilnv1.BuildState_BUILD_STATE_DONE {
		return ui.Usagef("build %s is not done, so nothing can boot it", build.GetSpec().GetId())
	}
	r.Build, r.CreatedUnixMs, r.Platforms = build.GetSpec().GetId(), build.GetFinishedUnixMs(), map[string]*kilnv1.ReleaseFiles{}
	chosen := releasePlatforms(build)
	for _, out := range build.GetOutputs() {
		platform, ok := chosen[out.GetPlatform()]
		if out.GetSize() == 0 || !ok {
			continue
		}
		files := r.Platforms[platform]
		if files == nil {
			files = &kilnv1.ReleaseFiles{}
		}
		ref := &kilnv1.FileRef{Artifact: out.GetArtifact(), Digest: out.GetDigest(), Size: out.GetSize()}
		switch out.GetFile() {
		case "-kernel":
			files.Kernel = ref
		case "-initrd.img":
			files.Initrds = []*kilnv1.FileRef{ref}
		case ".efi":
			files.Uki = ref
		case "-cmdline":
			line, err := readOutput(ctx, builds, out)
			if err != nil {
				return err
			}
			files.Cmdline = strings.TrimSpace(line)
		default:
			continue
		}
		r.Platforms[platform] = files
	}
	if len(r.Platforms) == 0 {
		return ui.Usagef("build %s made nothing that machines boot from the network: build kernel+initrd or uki", build.GetSpec().GetId())
	}
	return nil
}

// releasePlatforms says which platforms of a build serve which of a release, which has one for each architecture: firmware tells
// no variants. Of several the plain one counts, or else the lowest.
func releasePlatforms(build *kilnv1.BuildRecord) map[string]string {
	chosen := map[string]string{}
	served := map[string]bool{}
	var platforms []string
	for _, out := range build.GetOutputs() {
		platforms = append(platforms, out.GetPlatform())
	}
	slices.Sort(platforms)
	for _, platform := range slices.Compact(platforms) {
		if base := "linux/" + ui.BaseArch(strings.TrimPrefix(platform, "linux/")); !served[base] {
			chosen[platform], served[base] = base, true
		}
	}
	return chosen
}

func readOutput(ctx context.Context, builds *history.Builds, out *kilnv1.BuildOutput) (string, error) {
	description, err := cache.ParseDigest(out.GetArtifact())
	if err != nil {
		return "", err
	}
	want, err := cache.ParseDigest(out.GetDigest())
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	err = builds.Blobs.WriteArtifact(ctx, description, want, &text)
	return text.String(), err
}

// upload stores a file of a folder where edges find it.
func upload(ctx context.Context, builds *history.Builds, folder fs.FS, path string, dryRun bool) (d cache.Digest, size int64, err error) {
	f, err := folder.Open(path)
	if err != nil {
		return d, 0, err
	}
	defer f.Close()
	store := builds.Store
	if store == nil || dryRun { // it goes on from a place of its own
		dir, err := os.MkdirTemp("", "kiln-upload-")
		if err != nil {
			return d, 0, err
		}
		defer os.RemoveAll(dir)
		if store, err = disk.Open(dir); err != nil {
			return d, 0, err
		}
	}
	draft, err := store.Create(ctx)
	if err != nil {
		return d, 0, err
	}
	defer draft.Abort()
	if _, err := io.Copy(draft, f); err != nil {
		return d, 0, err
	}
	if d, size, err = draft.Commit(); err != nil || dryRun || builds.Farm == nil {
		return d, size, err
	}
	return d, size, errors.Join(builds.Blobs.Upload(ctx, store, []cache.Digest{d}))
}
