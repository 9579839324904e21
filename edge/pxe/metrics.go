package pxe

import "github.com/kiln-farm/kiln/internal/meter"

var (
	meters    = meter.Of("edge")
	tftpTime  = meters.Seconds("kiln.edge.tftp.duration", "Time of TFTP transfers, by how they ended")
	tftpBytes = meters.Counter("kiln.edge.tftp.bytes", "By", "Bytes sent over TFTP")
)
