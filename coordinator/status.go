package coordinator

import kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"

func (l *leader) builders() []*kilnv1.BuilderStatus { return nil }

func (l *leader) teams() []*kilnv1.TeamStatus { return nil }

func (l *leader) queue(string, int) ([]*kilnv1.QueuedStep, int) { return nil, 0 }
