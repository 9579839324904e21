package plan

import (
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/util"
)

// References lists the images that a build needs: those of its root filesystem, and those that its formats boot with. A
// build without formats is a lock for any.
func References(bundle *kilnv1.ConfigBundle, spec *kilnv1.BuildSpec) ([]linuxkit.Reference, error) {
	m, err := linuxkit.Merge(bundle)
	if err != nil {
		return nil, &step.Failure{Err: err}
	}
	refs := linuxkit.References(m)
	p := parametersOf(spec)
	if err := p.settle(bundle); err != nil {
		return nil, err
	}
	boot, initrd := needs(spec.GetFormats())
	for _, more := range []struct {
		name, section string
		wanted        bool
	}{{p.Boot, "boot loaders", boot}, {p.Initrd, "initrd", initrd}} {
		if more.name != "" && more.wanted {
			refs = linuxkit.AddReference(refs, more.name, more.section)
		}
	}
	return refs, nil
}

// needs says which images beside those of the root filesystem the formats are made with.
func needs(formats []string) (boot, initrd bool) {
	for _, f := range allFormats() {
		for _, name := range formats {
			if f.name == name {
				boot, initrd = boot || f.boot, initrd || f.initrd
			}
		}
	}
	return boot || len(formats) == 0, initrd || len(formats) == 0
}

// settle fills in what the build's parameters leave to its YAML.
func (p *Parameters) settle(bundle *kilnv1.ConfigBundle) error {
	s, err := linuxkit.ReadSettings(bundle)
	if err != nil {
		return &step.Failure{Err: err}
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&p.Boot, s.Boot}, {&p.Initrd, s.Initrd}, {&p.Cmdline, s.Cmdline}, {&p.Serial, s.Serial}, {&p.RootFS, s.Disk.Root},
		{&p.Boot, p.FarmBoot}, {&p.Initrd, p.FarmInitrd}} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	for _, ref := range []*string{&p.Boot, &p.Initrd} {
		if *ref != "" {
			*ref = util.ReferenceExpand(*ref)
		}
	}
	if p.DiskSize == 0 {
		p.DiskSize = s.Disk.Size
	}
	if p.StateSize == 0 {
		p.StateSize = s.Disk.State
	}
	if p.RootFS == "" {
		p.RootFS = step.EROFS
	}
	return nil
}

// extend puts what was asked for behind the kernel's command line. The last console is the one that Linux writes to.
func (p *Parameters) extend(m *moby.Moby) {
	add := p.Cmdline
	if p.Serial != "" {
		add = join(add, "console="+p.Serial)
	}
	m.Kernel.Cmdline = join(m.Kernel.Cmdline, add)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}
