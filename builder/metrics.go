package builder

import "github.com/kiln-farm/kiln/internal/meter"

// What a builder counts.
var (
	meters   = meter.Of("builder")
	stepTime = meters.Seconds("kiln.step.duration", "Time of steps from lease to completion, by kind and how they ended")
	running  = meters.UpDown("kiln.step.running", "{step}", "Steps that run now")
)
