package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"golang.org/x/sync/errgroup"
)

const (
	defaultPatience = 2 * time.Minute  // that an operation is tried for while the server fails or is away
	stallAfter      = 20 * time.Second // without a byte, then a transfer counts as broken
	firstWait       = 50 * time.Millisecond
	mostWait        = 5 * time.Second
	waitJitter      = 0.5
	dialTimeout     = 5 * time.Second
	answerTimeout   = 30 * time.Second // from the end of a request to the begin of its answer
	maxConnections  = 64
	maxLookups      = 32 // objects asked for at once by one Missing
	checkTimeout    = 15 * time.Second
	laterTimeout    = time.Second // the same for those who go on without: machines wait for them
)

// Config says where in which S3 server a cache is.
type Config struct {
	Endpoint string // host:port
	Plain    bool   // HTTP without TLS
	Region   string
	Bucket   string
	Prefix   string // of all keys; empty, or ends in a slash
	// PublicEndpoint is the URL under which clients of the farm reach the server, for URLs that are given to them;
	// empty: the same one.
	PublicEndpoint string
	// Credentials, when set, take the place of the usual chain: environment, shared credentials file, instance role.
	Credentials *credentials.Credentials
	Patience    time.Duration // that an operation is tried for; 2 min when 0
	Stall       time.Duration // without a byte, then a transfer or a listing counts as broken; 20 s when 0
	// Later opens the store also when its server does not answer: whoever has what it needs goes on without.
	Later bool
	Log   *slog.Logger
}

// ParseURL reads s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]; without an endpoint it is Amazon's.
func ParseURL(text string) (Config, error) {
	form := func(why string) (Config, error) {
		return Config{}, fmt.Errorf("store %q: %s; it is like s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION", withoutUser(text), why)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" {
		return form("it is not an s3:// URL")
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Region: "us-east-1"}
	if c.Prefix != "" {
		c.Prefix += "/"
	}
	query := u.Query()
	for name := range query {
		if name != "endpoint" && name != "region" {
			return form(fmt.Sprintf("it has an unknown part %q", name))
		}
	}
	if r := query.Get("region"); r != "" {
		c.Region = r
	}
	switch {
	case c.Bucket == "":
		return form("it names no bucket")
	case s3utils.CheckValidBucketNameStrict(c.Bucket) != nil:
		return form(fmt.Sprintf("%q is no name of a bucket", c.Bucket))
	case u.User != nil:
		return form("credentials do not belong into it: they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the shared credentials file")
	}
	endpoint := query.Get("endpoint")
	if endpoint == "" {
		c.Endpoint = "s3." + c.Region + ".amazonaws.com"
		return c, nil
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" || strings.Trim(e.Path, "/") != "" || e.User != nil {
		return form(fmt.Sprintf("its endpoint %q is no URL of a server", withoutUser(endpoint)))
	}
	c.Endpoint, c.Plain = e.Host, e.Scheme == "http"
	return c, nil
}

func withoutUser(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "(unreadable)"
}

// Store is a cache in a bucket of an S3 server: a Store. Any number of processes may use one at once. Its bytes come over
// a network from a place that others write to: put a Verifying around it where blobs are read.
//
// Blobs that compress well are stored as seekable zstd (see packed.go); records have the trailer that they have in a
// Dir. An operation that fails for a reason that may pass is tried again for a while, streams from where they broke.
type Store struct {
	cfg    Config
	core   minio.Core
	public *minio.Client
}

// Open opens a cache and makes sure that its bucket is there.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Stall == 0 {
		cfg.Stall = stallAfter
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Credentials == nil {
		cfg.Credentials = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Timeout: dialTimeout}},
		})
	}
	s := &Store{cfg: cfg}
	client, err := s.client(cfg.Endpoint, cfg.Plain)
	if err != nil {
		return nil, err
	}
	s.core = minio.Core{Client: client}
	s.public = client
	if cfg.PublicEndpoint != "" {
		u, err := url.Parse(cfg.PublicEndpoint)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("the public endpoint %q is no URL of a server", cfg.PublicEndpoint)
		}
		if s.public, err = s.client(u.Host, u.Scheme == "http"); err != nil {
			return nil, err
		}
	}
	err = s.Check(ctx)
	if cfg.Later && errors.Is(err, cache.ErrUnavailable) {
		cfg.Log.Warn("the shared cache does not answer; going on with what is here", "store", s.String(), "error", err)
		err = nil
	}
	return s, err
}

func (s *Store) client(endpoint string, plain bool) (*minio.Client, error) {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}
	client, err := minio.New(endpoint, &minio.Options{
		Creds: s.cfg.Credentials, Secure: !plain, Region: s.cfg.Region,
		MaxRetries: 1, // what is tried again, and for how long, is decided here
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout,
			ResponseHeaderTimeout: answerTimeout, MaxIdleConns: maxConnections, MaxIdleConnsPerHost: maxConnections,
			IdleConnTimeout: time.Minute, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("S3 endpoint %q: %w", endpoint, err)
	}
	return client, nil
}

// String says where the cache is, without credentials.
func (s *Store) String() string {
	return "s3://" + s.cfg.Bucket + "/" + s.cfg.Prefix + " at " + s.cfg.Endpoint
}

// Check says why the bucket cannot be used. It tries for less long than other operations: somebody waits for it.
func (s *Store) Check(ctx context.Context) error {
	limit := checkTimeout
	if s.cfg.Later {
		limit = laterTimeout
	}
	return s.retryFor(ctx, min(s.cfg.Patience, limit), "open the shared cache", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		// A listing needs credentials, the bucket and the right to it, and has an error that says which.
		for object := range s.core.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix, MaxKeys: 1}) {
			if answer := minio.ToErrorResponse(object.Err); answer.StatusCode == http.StatusNotFound && answer.Code != "NoSuchBucket" {
				return minio.ErrorResponse{Code: "InvalidAccessKeyId", Message: answer.Message} // VersityGW's word for a user it does not know
			}
			return object.Err
		}
		return nil
	})
}

// name is the object that holds key's value. Records' names end like those of their files in a Dir: an S3 server may
// keep objects in files, too.
func (s *Store) name(key cache.Key) string {
	if _, blob := key.Digest(); blob {
		return s.cfg.Prefix + key.String()
	}
	return s.cfg.Prefix + key.String() + recordfile.Suffix
}

// keyOf undoes name.
func (s *Store) keyOf(name string) (cache.Key, bool) {
	rest, ok := strings.CutPrefix(name, s.cfg.Prefix)
	key, err := cache.ParseKey(strings.TrimSuffix(rest, recordfile.Suffix))
	if !ok || err != nil {
		return cache.Key{}, false
	}
	digest, blob := key.Digest()
	return key, blob != strings.HasSuffix(rest, recordfile.Suffix) && (!blob || cache.BlobKey(digest) == key)
}

// Missing implements Store.
func (s *Store) Missing(ctx context.Context, keys []cache.Key) ([]cache.Key, error) {
	here := make([]bool, len(keys))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(maxLookups)
	for i, key := range keys {
		group.Go(func() (err error) {
			here[i], err = s.present(asking, key)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var missing []cache.Key
	for i, key := range keys {
		if !here[i] {
			missing = append(missing, key)
		}
	}
	return missing, nil
}

func (s *Store) present(ctx context.Context, key cache.Key) (bool, error) {
	err := s.retry(ctx, "look for "+key.String(), func(ctx context.Context) error {
		_, err := s.core.StatObject(ctx, s.cfg.Bucket, s.name(key), minio.StatObjectOptions{})
		return err
	})
	if errors.Is(err, cache.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// List implements Store. Sizes are those of what is stored; a packed blob is larger.
func (s *Store) List(ctx context.Context, prefix string, f func(cache.Entry) error) error {
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if _, err := cache.ParseKey(prefix[:i]); err != nil {
			return err
		}
	}
	after, told := "", error(nil)
	err := s.retry(ctx, "list "+prefix, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stalled := time.AfterFunc(s.cfg.Stall, cancel) // a server may take the connection and say nothing
		defer stalled.Stop()
		for object := range s.core.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix + prefix, Recursive: true, StartAfter: after}) {
			stalled.Stop() // what f does takes its own time
			if object.Err != nil {
				return object.Err
			}
			after = object.Key // a listing that broke goes on from here
			key, ok := s.keyOf(object.Key)
			if !ok {
				stalled.Reset(s.cfg.Stall)
				continue
			}
			size := object.Size
			if _, blob := key.Digest(); !blob {
				size = max(size-recordfile.TrailerSize, 0)
			}
			if told = f(cache.Entry{Key: key, Size: size, LastUse: object.LastModified}); told != nil {
				return nil
			}
			stalled.Reset(s.cfg.Stall)
		}
		return ctx.Err()
	})
	return errors.Join(told, err)
}

// Delete implements Store.
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	return s.retry(ctx, "delete "+key.String(), func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.cfg.Bucket, s.name(key), minio.RemoveObjectOptions{})
	})
}

// PresignGet makes a URL that reads a blob, as it is stored, for a while: DecodeStored undoes what is packed.
func (s *Store) PresignGet(ctx context.Context, d cache.Digest, life time.Duration) (string, error) {
	u, err := s.public.PresignedGetObject(ctx, s.cfg.Bucket, s.name(cache.BlobKey(d)), life, nil)
	if err != nil {
		return "", fmt.Errorf("make a URL for %s: %w", d, err)
	}
	return u.String(), nil
}
