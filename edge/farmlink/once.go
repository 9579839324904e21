package farmlink

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/edge/config"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Take implements config.Once. It asks again while the farm changes leaders, until ctx ends.
func (l *Link) Take(ctx context.Context, machine string, boot config.BootID, what string) (fresh bool, err error) {
	c := config.TakeCommand(machine, boot, what)
	req := &kilnv1.TakeRequest{Machine: c.GetMachine(), Boot: c.GetBoot(), Document: c.GetDocument(), Request: c.GetRequest()}
	for {
		err = l.calls.do(func(client *Conn) error {
			try, cancel := context.WithTimeout(ctx, takeTry)
			defer cancel()
			res, err := client.Room.Take(try, connect.NewRequest(req))
			if err == nil {
				fresh = res.Msg.GetFresh()
			}
			return err
		})
		if err == nil || connect.CodeOf(err) == connect.CodeInvalidArgument {
			return fresh, err
		}
		select {
		case <-time.After(takeAgain):
		case <-ctx.Done():
			return false, err
		}
	}
}

const (
	takeTry   = 2 * time.Second
	takeAgain = 200 * time.Millisecond
)
