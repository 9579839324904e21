package replica

import (
	"testing"

	"github.com/hashicorp/raft"
)

// A follower drops entries that the next leader does not know, and is killed then.
func TestALogIsReadAgainAfterItsEndWasDropped(t *testing.T) {
	dir := t.TempDir()
	conf := raft.DefaultConfig()
	open := func() *stores {
		st, err := openStores(dir, conf)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	shut := func(st *stores) {
		for _, c := range st.closer {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := open()
	store := func(from, to uint64) {
		for i := from; i <= to; i++ {
			if err := st.logs.StoreLog(&raft.Log{Index: i, Term: 1, Data: []byte{byte(i)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	store(1, 10)
	if err := st.logs.DeleteRange(8, 10); err != nil {
		t.Fatal(err)
	}
	store(8, 9)
	shut(st)
	st = open()
	defer shut(st)
	for i := uint64(1); i <= 9; i++ {
		var log raft.Log
		if err := st.logs.GetLog(i, &log); err != nil || log.Data[0] != byte(i) {
			t.Fatalf("entry %d: %v, %v", i, log.Data, err)
		}
	}
}
