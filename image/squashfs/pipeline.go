package squashfs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"runtime"
	"sync"
)

const (
	maxWorkers = 4
	// jobsEach is how many blocks are under way for each worker: enough that none waits for another's slow one.
	jobsEach = 3
)

// What is at the end of the bytes that a content key is the SHA-256 of, so that files in fragments and files in blocks
// never share one.
const (
	keyOfSmall = 's'
	keyOfLarge = 'l'
)

// Kinds of jobs.
const (
	blockJob    = iota // a block of a file
	fragmentJob        // a fragment block
	recordJob          // nothing to compress, only a file to write down
)

// job is a block on its way through the pipeline.
type job struct {
	kind int
	in   []byte
	file *file // of a blockJob or recordJob
	last bool  // of the file

	out  []byte // what is stored
	buf  []byte // memory for out
	size uint32 // as the inode has it
	sum  [sha256.Size]byte
	err  error
	done chan struct{} // has one element when a worker is through with it
}

// pipeline compresses blocks at once and writes them in their order. Who started it sends jobs and then calls end.
type pipeline struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	jobs    chan *job // to the workers
	ordered chan *job // to the writer
	free    chan *job
	workers sync.WaitGroup
	drained chan struct{}

	// of the writer:
	blocks    io.Writer
	table     *tableWriter
	at        int64 // bytes written to blocks
	fileHash  hash.Hash
	fragments []fragment
}

func startPipeline(ctx context.Context, c Compression, blocks io.Writer, t *tableWriter) (*pipeline, error) {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	codecs := make([]*codec, workers)
	for i := range codecs {
		var err error
		if codecs[i], err = newCodec(c); err != nil {
			return nil, err
		}
	}
	const waiting = 2 // with who sends: a file and a fragment block
	n := workers*jobsEach + waiting
	p := &pipeline{jobs: make(chan *job, n), ordered: make(chan *job, n), free: make(chan *job, n), drained: make(chan struct{}),
		blocks: blocks, table: t, fileHash: sha256.New()}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	for range n {
		p.free <- &job{in: make([]byte, 0, blockSize+1), done: make(chan struct{}, 1)}
	}
	for _, k := range codecs {
		p.workers.Go(func() { p.work(k) })
	}
	go p.drain()
	return p, nil
}

// take gives a job that is free, with room for a block and one byte more in its input.
func (p *pipeline) take() (*job, error) {
	j := <-p.free // soon: the writer goes on when it has failed
	if p.ctx.Err() != nil {
		p.free <- j
		return nil, context.Cause(p.ctx)
	}
	return j, nil
}

func (p *pipeline) send(j *job) {
	p.jobs <- j
	p.ordered <- j
}

func (p *pipeline) work(k *codec) {
	for j := range p.jobs {
		j.compress(k)
		j.done <- struct{}{}
	}
}

func (j *job) compress(k *codec) {
	j.size, j.out, j.err = 0, nil, nil
	if j.kind == recordJob || j.kind == blockJob && isZeros(j.in) {
		return
	}
	out, smaller, err := k.compress(j.buf, j.in)
	if err != nil {
		j.err = err
		return
	}
	j.out, j.size = out, uint32(len(out))
	if smaller {
		j.buf = out
	} else {
		j.size |= uncompressedBlock
	}
	if j.kind == blockJob {
		j.sum = sha256.Sum256(out)
	}
}

// drain writes the jobs' results in their order.
func (p *pipeline) drain() {
	defer close(p.drained)
	for j := range p.ordered {
		<-j.done
		if p.ctx.Err() == nil {
			if err := p.write(j); err != nil {
				p.cancel(err)
			}
		}
		j.file, j.last = nil, false
		p.free <- j
	}
}

func (p *pipeline) write(j *job) error {
	if j.err != nil {
		return j.err
	}
	if j.kind == fragmentJob {
		p.fragments = append(p.fragments, fragment{start: p.at, size: j.size})
	}
	if j.kind == blockJob {
		p.block(j)
	}
	if _, err := p.blocks.Write(j.out); err != nil {
		return err
	}
	p.at += int64(len(j.out))
	if j.last {
		p.table.file(j.file)
	}
	return nil
}

// block notes a block in its file's record.
func (p *pipeline) block(j *job) {
	if len(j.file.blocks) == 0 {
		j.file.start = p.at
		p.fileHash.Reset()
	}
	j.file.blocks = append(j.file.blocks, j.size)
	p.fileHash.Write(binary.LittleEndian.AppendUint32(nil, j.size))
	p.fileHash.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(j.in))))
	if j.size != 0 {
		p.fileHash.Write(j.sum[:])
	}
	if j.last {
		p.fileHash.Write([]byte{keyOfLarge})
		p.fileHash.Sum(j.file.key[:0])
	}
}

// end waits for all that was sent, ends the table, and says what went wrong.
func (p *pipeline) end() error {
	close(p.jobs)
	close(p.ordered)
	p.workers.Wait()
	<-p.drained
	err := context.Cause(p.ctx)
	p.cancel(nil)
	if err != nil {
		return err
	}
	for _, f := range p.fragments {
		p.table.fragment(f)
	}
	return p.table.close()
}
