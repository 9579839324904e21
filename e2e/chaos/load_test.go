package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// buildPatience is how long one build may take, whatever happens to the farm meanwhile.
	buildPatience = 4 * time.Minute
	againWait     = time.Second
	maxAgain      = 60
)

// errAgain: the farm took nothing, or the outputs were lost after the end, and said so: what CI does is to try again.
var errAgain = errors.New("to be tried again")

// load is many clients that build.
type load struct {
	kiln, dir, farm, credentials string
	images                       *images
	seed                         uint64

	mu       sync.Mutex // guards what follows
	next     int
	Builds   int
	Detached int
	Again    int // tries that the farm refused with a sentence, and that were repeated
	faults   []string
	errors   []string // of builds that did not end well
}

// run builds one image after the other until stop, with a client cache of its own. What is begun is finished.
func (l *load) run(ctx context.Context, stop <-chan struct{}, client int) {
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		l.mu.Lock()
		l.next++
		n := l.next
		l.mu.Unlock()
		err := l.one(ctx, client, n)
		for tries := 0; errors.Is(err, errAgain) && tries < maxAgain && ctx.Err() == nil; tries++ {
			l.mu.Lock()
			l.Again++
			l.mu.Unlock()
			time.Sleep(againWait)
			err = l.one(ctx, client, n)
		}
		if err != nil && ctx.Err() == nil {
			l.mu.Lock()
			l.errors = append(l.errors, fmt.Sprintf("build %d: %v", n, err))
			l.mu.Unlock()
		}
	}
}

// one builds one image on the farm and again without it, and compares.
func (l *load) one(ctx context.Context, client, n int) error {
	ctx, cancel := context.WithTimeout(ctx, buildPatience)
	defer cancel()
	random := rand.New(rand.NewPCG(l.seed, uint64(n)))
	dir := filepath.Join(l.dir, fmt.Sprintf("build%d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fresh, text := "", "shared\n"
	switch n % 3 {
	case 1:
		text = fmt.Sprintf("build %d\n", n)
		var err error
		if fresh, err = l.images.fresh(n/6, l.seed); err != nil { // two builds share it
			return err
		}
	case 2:
		text = fmt.Sprintf("build %d\n", n)
	}
	file := filepath.Join(dir, fmt.Sprintf("image%d.yml", n))
	if err := os.WriteFile(file, []byte(yamlOf(random, fresh, text)), 0o600); err != nil {
		return err
	}
	format := []string{"kernel+initrd", "tar", "kernel+initrd,tar"}[random.IntN(3)]
	there, here := filepath.Join(dir, "there"), filepath.Join(dir, "here")
	clientCache := filepath.Join(l.dir, fmt.Sprintf("client%d", client))
	args := []string{"--arch", "amd64", "--format", format, "--mirror", "docker.io=" + l.images.URL, "--progress", "plain"}
	detached := n%5 == 0
	var err error
	if detached {
		err = l.detached(ctx, there, clientCache, file, args)
	} else {
		_, err = l.command(ctx, append(append([]string{"build", "--farm", l.farm, "--credentials", l.credentials, "--cache", clientCache, "--dir", there}, args...), file)...)
	}
	if err != nil {
		return err
	}
	if _, err := l.command(ctx, append(append([]string{"build", "--cache", filepath.Join(l.dir, "reference"), "--dir", here}, args...), file)...); err != nil {
		return fmt.Errorf("without a farm: %w", err)
	}
	got, err := sums(there)
	if err != nil {
		return err
	}
	want, err := sums(here)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Builds++
	if detached {
		l.Detached++
	}
	if !slices.Equal(got, want) {
		l.faults = append(l.faults, fmt.Sprintf("build %d gave %q, and without a farm %q", n, got, want))
	}
	return nil
}

// detached submits a build, leaves, comes back for its end and then for what it made.
func (l *load) detached(ctx context.Context, dir, cacheDir, file string, args []string) error {
	farm := []string{"--farm", l.farm, "--credentials", l.credentials}
	id, err := l.command(ctx, slices.Concat([]string{"build", "--detach", "--cache", cacheDir}, farm, args, []string{file})...)
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	id = strings.TrimSpace(id)
	if _, err := l.command(ctx, slices.Concat([]string{"build", "wait", "--progress", "plain"}, farm, []string{id})...); err != nil {
		return fmt.Errorf("wait for %s: %w", id, err)
	}
	if _, err := l.command(ctx, slices.Concat([]string{"build", "fetch", "--dir", dir}, farm, []string{id})...); err != nil {
		return fmt.Errorf("fetch %s: %w", id, err)
	}
	return nil
}

// command runs kiln and returns what it wrote to standard output.
func (l *load) command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.kiln, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "KILN_PATIENCE=3m"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		last := lines[len(lines)-1]
		if cmd.ProcessState.ExitCode() == 3 && !strings.Contains(complaint.String(), "#") || strings.Contains(last, "the cache has dropped outputs of build") {
			err = fmt.Errorf("%w: %w", errAgain, err)
		}
		told := lines[max(0, len(lines)-4):]
		if i := slices.IndexFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:")
		}); i >= 0 {
			told = lines[i:]
		}
		return "", fmt.Errorf("kiln %s: %w: %s", args[0], err, strings.Join(told, " / "))
	}
	return out.String(), nil
}

// sums are the names and hashes of the files in a directory.
func sums(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var all []string
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("%s %x", e.Name(), sha256.Sum256(data)))
	}
	return all, err
}
