package addresses

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/userfile"
	"github.com/kiln-farm/kiln/migrate"
	"github.com/kiln-farm/kiln/migrate/leasefile"
)

// maxOldFile bounds a file of another DHCP server, in bytes; package leasefile says more to those that are smaller.
const maxOldFile = 128 << 20

// readOld reads a file of another DHCP server.
func readOld(ctx context.Context, name string) (*leasefile.File, leasefile.Kind, error) {
	data, err := userfile.Read(ctx, name, maxOldFile)
	if err != nil {
		return nil, "", ui.Usagef("%s: %w; name a file of dnsmasq, ISC dhcpd or Kea", name, userfile.Cause(err))
	}
	kind, ok := leasefile.Detect(name, data)
	if !ok {
		return nil, "", ui.Usagef("%s is no file of dnsmasq, ISC dhcpd or Kea that is known here: name a lease file or a configuration of one of them", name)
	}
	file, err := leasefile.Parse(kind, data, leasefile.Options{})
	if err != nil {
		var fault *leasefile.Error
		if errors.As(err, &fault) && fault.Line > 0 {
			return nil, kind, ui.Usagef("%s:%d: %s", name, fault.Line, fault.Text)
		}
		return nil, kind, ui.Usagef("%s: %w", name, err)
	}
	return file, kind, nil
}

// readLeases reads lease files, each with those that Kea keeps beside it.
func readLeases(ctx context.Context, names []string) (*migrate.Leases, error) {
	out := &migrate.Leases{}
	for _, name := range names {
		one, kind, err := readOld(ctx, name)
		if err != nil {
			return nil, err
		}
		switch kind {
		case leasefile.DnsmasqLeases, leasefile.ISCLeases, leasefile.KeaLeases:
		default:
			return nil, ui.Usagef("%s is the %s, and has no leases: kiln subnet import reads it", name, kind)
		}
		from := []string{name}
		files := []*leasefile.File{one}
		if kind == leasefile.KeaLeases {
			if from, files, err = companions(ctx, name); err != nil {
				return nil, err
			}
		}
		where := map[netip.Addr]string{} // of an address the last file counts
		for i, f := range files {
			for _, l := range f.Leases {
				where[l.Address] = from[i]
			}
			for _, n := range f.Notes {
				out.Remarks = append(out.Remarks, migrate.Remark{File: from[i], Line: n.Line, Text: n.Text})
			}
		}
		for _, l := range leasefile.Merge(files...).Leases {
			out.Leases = append(out.Leases, migrate.Lease{Lease: l, File: where[l.Address]})
		}
	}
	return out, nil
}

// companions reads a file of Kea and what is beside it while Kea cleans it up.
func companions(ctx context.Context, name string) (from []string, files []*leasefile.File, err error) {
	all := leasefile.Companions(name)
	if exists(all[0]) { // it holds those between
		all = []string{all[0], name}
	}
	for _, one := range all {
		if one != name && !exists(one) {
			continue
		}
		f, kind, err := readOld(ctx, one)
		if err == nil && kind != leasefile.KeaLeases {
			err = ui.Usagef("%s is beside a lease file of Kea, and is the %s: move it away", one, kind)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("beside %s: %w", name, err)
		}
		from, files = append(from, one), append(files, f)
	}
	return from, files, nil
}

func exists(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}
