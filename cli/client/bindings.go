package client

import (
	"context"

	"connectrpc.com/connect"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Bindings are the addresses that are bound to somebody or were, in a subnet or in all, sorted by subnet and address.
func (f *Farm) Bindings(ctx context.Context, subnet string) ([]*kilnv1.BindingNow, error) {
	var all []*kilnv1.BindingNow
	err := f.call(ctx, "ask which addresses are bound", func() error {
		all = nil
		stream, err := f.Room.WatchBindings(ctx, connect.NewRequest(&kilnv1.WatchBindingsRequest{Once: true, Subnet: subnet}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			all = append(all, stream.Msg().GetBindings()...)
		}
		return stream.Err()
	})
	return all, err
}

// Bind changes bindings. The results are in the order of commands, of which one call takes at most 1,000.
func (f *Farm) Bind(ctx context.Context, commands []*kilnv1.BindCommand) ([]*kilnv1.BindResult, error) {
	res, err := Ask(ctx, f, "bind addresses", f.Room.Bind, &kilnv1.BindRequest{Commands: commands})
	return res.GetResults(), err
}
