package erofs

const blockSlots = blockSize / slotSize

// slots says where inodes go. An inode with what is kept with it stays in one block, when it is not larger; gaps are
// filled with what comes later, the fullest block that has room first.
type slots struct {
	blocks uint32                   // given away so far
	open   [blockSlots + 1][]uint32 // blocks by how many slots at their end are free
}

// take gives room for n bytes and returns the number of the first slot.
func (s *slots) take(n int) uint64 {
	need := (n + slotSize - 1) / slotSize
	for free := need; free < blockSlots; free++ {
		if last := len(s.open[free]) - 1; last >= 0 {
			block := s.open[free][last]
			s.open[free] = s.open[free][:last]
			s.give(block, free-need)
			return uint64(block)*blockSlots + uint64(blockSlots-free)
		}
	}
	block := s.blocks
	s.blocks += uint32((need + blockSlots - 1) / blockSlots)
	s.give(s.blocks-1, (blockSlots-need%blockSlots)%blockSlots)
	return uint64(block) * blockSlots
}

// give notes how many slots at a block's end are free.
func (s *slots) give(block uint32, free int) {
	if free > 0 {
		s.open[free] = append(s.open[free], block)
	}
}
