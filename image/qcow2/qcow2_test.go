package qcow2_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fat/disktest"
	"github.com/kiln-farm/kiln/image/qcow2"
)

const mib = 1 << 20

func TestDisksThatQEMUReads(t *testing.T) {
	for _, d := range disktest.Disks() {
		t.Run(d.Name, func(t *testing.T) {
			s := disktest.New(t)
			disk := d.Make(s)
			list, err := qcow2.Wrap(disk)
			if err != nil {
				t.Fatal(err)
			}
			raw, file := s.File("disk.raw", disk), s.File("disk.qcow2", list)
			disktest.Run(t, "qemu-img", "check", "-f", "qcow2", file)
			var info struct {
				Format      string
				VirtualSize int64 `json:"virtual-size"`
			}
			if err := json.Unmarshal([]byte(disktest.Run(t, "qemu-img", "info", "--output=json", file)), &info); err != nil {
				t.Fatal(err)
			}
			if want := (disk.Size() + 511) / 512 * 512; info.Format != "qcow2" || info.VirtualSize != want {
				t.Errorf("%+v, want %d bytes", info, want)
			}
			disktest.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, file)
			if most := d.Data + d.Data/1000 + 6<<16 + int64(d.Pieces)*3<<16; list.Size() > most {
				t.Errorf("%d bytes for %d, want up to %d", list.Size(), d.Data, most)
			}
		})
	}
}

// Hundreds of GiB of data have several blocks of reference counts and many tables.
func TestLargeDisk(t *testing.T) {
	disk := &extents.List{}
	disk.Zeros(700 << 20)
	disk.Append(extents.Blob(cache.SumBytes([]byte("blob")), 300<<30+5))
	disk.Zeros(1 << 30)
	list, err := qcow2.Wrap(disk)
	if err != nil {
		t.Fatal(err)
	}
	inline := &extents.List{}
	var blobs int64
	for _, e := range list.Runs() {
		if !e.Blob.IsZero() {
			blobs += e.Length
			break
		}
		inline.Add(e)
	}
	if blobs != 300<<30+5 {
		t.Errorf("%d bytes of blobs", blobs)
	}
	// A file with a hole for the data is one that QEMU can check.
	inline.Zeros(list.Size() - inline.Size())
	if got := disktest.Run(t, "qemu-img", "check", "-f", "qcow2", disktest.New(t).File("disk.qcow2", inline)); !strings.Contains(got, "No errors") {
		t.Errorf("qemu-img: %s", got)
	}
}

func TestDiskThatIsTooLarge(t *testing.T) {
	disk := &extents.List{}
	disk.Zeros(17 << 40)
	if _, err := qcow2.Wrap(disk); err == nil || !strings.Contains(err.Error(), "16 TiB") {
		t.Errorf("got %v", err)
	}
}

// Whoever starts a machine from the file writes to it.
func TestQEMUWritesToTheFile(t *testing.T) {
	disktest.Need(t, "qemu-io")
	s := disktest.New(t)
	disk := s.Blob(disktest.Noise(1, mib))
	disk.Zeros(mib)
	list, err := qcow2.Wrap(disk)
	if err != nil {
		t.Fatal(err)
	}
	file := s.File("disk.qcow2", list)
	disktest.Run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 7 500k 1M", file)
	disktest.Run(t, "qemu-img", "check", "-f", "qcow2", file)
	raw := filepath.Join(t.TempDir(), "raw")
	disktest.Run(t, "qemu-img", "convert", "-O", "raw", file, raw)
	got, err := os.ReadFile(raw)
	want := append(disktest.Noise(1, 500<<10), bytes.Repeat([]byte{7}, mib)...)
	if err != nil || len(got) != 2*mib || !bytes.Equal(got[:len(want)], want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
