package ddns

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/kiln-farm/kiln/internal/dnsname"
)

// Identifier types of DHCID records (RFC 4701 §3.3), and their only digest (§3.4).
const (
	byHardware = 0x0000 // htype and hardware address
	byDUID     = 0x0002
	sha256Type = 1

	ethernet = 1 // htype
	duidUUID = 4 // RFC 6355
)

var errClient = errors.New("nothing says who the client is")

// DHCID is the data of the record that marks a name as a client's, in base64 (RFC 4701 §3). Clients are "mac …", "duid <hex> <iaid>"
// and "uuid …". Kiln knows clients of IPv4 by their MAC, whatever client ids they send, and so does this.
func DHCID(client, name string) (string, error) {
	kind, rest, _ := strings.Cut(client, " ")
	var id []byte
	var code uint16
	switch kind {
	case "mac":
		mac, err := net.ParseMAC(rest)
		if err != nil {
			return "", fmt.Errorf("%w: %q", errClient, client)
		}
		code, id = byHardware, append([]byte{ethernet}, mac...)
	case "duid":
		text, _, _ := strings.Cut(rest, " ")
		duid, err := hex.DecodeString(text)
		if err != nil || len(duid) == 0 {
			return "", fmt.Errorf("%w: %q", errClient, client)
		}
		code, id = byDUID, duid
	case "uuid":
		uuid, err := hex.DecodeString(strings.ReplaceAll(rest, "-", ""))
		if err != nil || len(uuid) == 0 {
			return "", fmt.Errorf("%w: %q", errClient, client)
		}
		code, id = byDUID, append([]byte{0, duidUUID}, uuid...)
	default:
		return "", fmt.Errorf("%w: %q", errClient, client)
	}
	digest := sha256.Sum256(append(id, dnsname.Wire(name)...))
	return base64.StdEncoding.EncodeToString(append([]byte{byte(code >> 8), byte(code), sha256Type}, digest[:]...)), nil
}
