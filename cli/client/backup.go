package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// backupChunk is how many bytes of a backup one message carries.
const backupChunk = 256 << 10

// Backup writes the farm's whole state to what open gives, which is asked for again when a connection broke and the
// backup begins anew.
func (f *Farm) Backup(ctx context.Context, open func() (io.Writer, error)) error {
	var fault error // of writing: no other try helps
	err := f.call(ctx, "back the farm up", func() error {
		var w io.Writer
		if w, fault = open(); fault != nil {
			return nil
		}
		stream, err := f.Admin.Backup(ctx, connect.NewRequest(&kilnv1.BackupRequest{}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			if _, fault = w.Write(stream.Msg().GetData()); fault != nil {
				return nil
			}
		}
		return stream.Err()
	})
	return errors.Join(err, fault)
}

// Restore replaces the farm's whole state by that of a backup.
func (f *Farm) Restore(ctx context.Context, backup io.ReadSeeker) (*kilnv1.RestoreResponse, error) {
	var answer *kilnv1.RestoreResponse
	var fault error // of reading
	err := f.call(ctx, "restore the farm", func() error {
		if _, fault = backup.Seek(0, io.SeekStart); fault != nil {
			return nil
		}
		stream := f.Admin.Restore(ctx)
		chunk := make([]byte, backupChunk)
		for {
			n, err := io.ReadFull(backup, chunk)
			if n > 0 {
				if stream.Send(&kilnv1.RestoreRequest{Data: chunk[:n]}) != nil {
					break // CloseAndReceive says why
				}
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				break
			}
			if err != nil {
				fault = fmt.Errorf("read the backup: %w", err)
				return nil
			}
		}
		resp, err := stream.CloseAndReceive()
		if err == nil {
			answer = resp.Msg
		}
		return err
	})
	return answer, errors.Join(err, fault)
}
