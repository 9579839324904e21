package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/retry"
)

// retry does op until it goes well, will never go well, or has failed for the store's patience. Op must be harmless
// when it is done twice. What names it in errors.
func (s *Store) retry(ctx context.Context, what string, op func(context.Context) error) error {
	return s.retryFor(ctx, s.cfg.Patience, what, op)
}

// retryFor is retry with another patience.
func (s *Store) retryFor(ctx context.Context, patience time.Duration, what string, op func(context.Context) error) error {
	policy := retry.Policy{First: firstWait, Most: mostWait, Jitter: waitJitter, Within: patience}
	err := policy.Do(ctx, func(ctx context.Context) error {
		err := op(ctx)
		if err == nil {
			return nil
		}
		if final := s.final(err); final != nil {
			return retry.Permanent(fmt.Errorf("%s: %w", what, final))
		}
		return err
	}, func(err error, _ time.Duration) {
		s.cfg.Log.Debug("the shared cache failed; trying again", "operation", what, "error", err)
	})
	var gaveUp *retry.GaveUpError
	if errors.As(err, &gaveUp) {
		return fmt.Errorf("%s: %w: %s did not do it for %s: %w", what, cache.ErrUnavailable, s.cfg.Endpoint, patience, gaveUp.Err)
	}
	return err
}

// final is what an error means when trying again would not help, nil when it might.
func (s *Store) final(err error) error {
	if errors.Is(err, cache.ErrMismatch) || errors.Is(err, cache.ErrNotFound) || errors.Is(err, errSource) {
		return err
	}
	answer := minio.ToErrorResponse(err)
	refused := func(why string) error { return fmt.Errorf("%w: %s", cache.ErrRefused, why) }
	switch answer.Code {
	case "NoSuchKey":
		return cache.ErrNotFound
	case "NoSuchBucket":
		return refused(fmt.Sprintf("there is no bucket %q at %s: make it, or correct the store's URL", s.cfg.Bucket, s.cfg.Endpoint))
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "XMinioInvalidIAMCredentials":
		return refused(fmt.Sprintf("%s does not know these credentials (%s): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the shared credentials file", s.cfg.Endpoint, answer.Code))
	case "AuthorizationHeaderMalformed":
		return refused(fmt.Sprintf("%s is not in the region %q: name its region in the store's URL (region=…): %s", s.cfg.Endpoint, s.cfg.Region, answer.Message))
	case "InvalidBucketName":
		return refused(fmt.Sprintf("%q is no name of a bucket: correct the store's URL", s.cfg.Bucket))
	case "RequestTimeTooSkewed":
		return refused(fmt.Sprintf("the clocks of this machine and of %s differ too much: set this one right", s.cfg.Endpoint))
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return refused(fmt.Sprintf("these credentials have no right to that in the bucket %q at %s; a farm needs to list, get, put and delete", s.cfg.Bucket, s.cfg.Endpoint))
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return cache.ErrNotFound
	case http.StatusForbidden: // a HEAD has no body that would say more
		return refused(fmt.Sprintf("%s does not let these credentials do that in the bucket %q", s.cfg.Endpoint, s.cfg.Bucket))
	case http.StatusBadRequest, http.StatusNotImplemented, http.StatusMethodNotAllowed:
		if answer.Code != "BadDigest" && answer.Code != "IncompleteBody" && answer.Code != "RequestTimeout" && answer.Code != "XAmzContentSHA256Mismatch" {
			return refused(answer.Error())
		}
	}
	return nil
}

func exists(err error) bool {
	answer := minio.ToErrorResponse(err)
	return answer.Code == "PreconditionFailed" || answer.StatusCode == http.StatusPreconditionFailed
}
