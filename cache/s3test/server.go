package s3test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	startTimeout = 20 * time.Second
	// Bucket is there when a server has started.
	Bucket = "kiln"
	region = "us-east-1"
)

// Server is a running S3 server.
type Server struct {
	Address           string // host:port
	AccessKey, Secret string
	dir               string
	binary            string
	process           *exec.Cmd
	log               *os.File
}

// Start starts a server that keeps its data in dir, at address ("127.0.0.1:0" for any port), and makes the bucket.
func Start(dir, address string) (*Server, error) {
	binary, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{AccessKey: "kiln-access", Secret: "kiln-secret-key", dir: dir, binary: binary}
	if s.Address, err = freeAddress(address); err != nil {
		return nil, err
	}
	return s, s.Restart()
}

// New is Start for a test; it ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := Start(t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// find looks for the server's program below the folder of go.mod.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		binary := filepath.Join(dir, "build", "tools", "versitygw")
		if _, err := os.Stat(binary); err != nil {
			return "", fmt.Errorf("these tests run against a real S3 server, which is not built yet: run make tools (%w)", err)
		}
		return binary, nil
	}
	return "", errors.New("no go.mod above the current directory")
}

func freeAddress(address string) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// Restart starts the server again, with what it had.
func (s *Server) Restart() error {
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	var err error
	if s.log, err = os.OpenFile(filepath.Join(s.dir, "versitygw.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	s.process = exec.Command(s.binary, "--port", s.Address, "--quiet", "posix", data)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.Secret)
	s.process.Stdout, s.process.Stderr = s.log, s.log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("start the S3 server: %w", err)
	}
	client, err := minio.New(s.Address, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.Secret, ""), Region: region, MaxRetries: 1})
	if err != nil {
		return err
	}
	for end := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		there, err := client.BucketExists(ctx, Bucket)
		if err == nil && !there {
			err = client.MakeBucket(ctx, Bucket, minio.MakeBucketOptions{Region: region})
			there = err == nil
		}
		cancel()
		if there {
			return nil
		}
		if time.Now().After(end) {
			s.Close()
			return fmt.Errorf("the S3 server at %s did not start: %w; see %s", s.Address, err, s.log.Name())
		}
	}
}

// Close kills the server.
func (s *Server) Close() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait() // killed
		_ = s.log.Close()
		s.process = nil
	}
}

// Dir is where the server keeps the bucket's objects, as files.
func (s *Server) Dir() string { return filepath.Join(s.dir, "data", Bucket) }

// URL is a store's URL for a prefix of the bucket; via is where requests go, the server itself when empty.
func (s *Server) URL(prefix, via string) string {
	if via == "" {
		via = "http://" + s.Address
	}
	return "s3://" + Bucket + "/" + prefix + "?endpoint=" + via + "&region=" + region
}

// Config is the configuration of a cache at such a URL, with this server's credentials.
func (s *Server) Config(prefix, via string) (s3.Config, error) {
	c, err := s3.ParseURL(s.URL(prefix, via))
	c.Credentials = credentials.NewStaticV4(s.AccessKey, s.Secret, "")
	return c, err
}

// Env is what a process needs in its environment to use the server.
func (s *Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.Secret}
}

// Client is a plain client of the server.
func (s *Server) Client() (*minio.Client, error) {
	return minio.New(s.Address, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.Secret, ""), Region: region, Transport: http.DefaultTransport})
}
