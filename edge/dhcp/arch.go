package dhcp

// Arch is a kind of machine and firmware, as DHCP option 93 names it.
type Arch struct {
	Code   uint16
	Name   string // of the processor, for people and for names of files
	GOARCH string // as images are named; empty for processors that Go does not know
	HTTP   bool   // the firmware fetches its boot file by HTTP
	BIOS   bool   // PC BIOS, not UEFI
	UEFI   bool
}

// archs are the codes of IANA's list "Processor Architecture Types" (RFC 5970 §3.3, RFC 4578 §2.1). Seven and nine are
// what firmware sends: RFC 4578 has them the other way round, and an EFI byte code client is an x86-64 machine. A BIOS
// says nothing about the processor; those that are still in use are x86-64.
var archs = [...]Arch{
	{0, "x86-64", "amd64", false, true, false},
	{1, "pc98", "", false, false, false},
	{2, "itanium", "", false, false, true},
	{3, "alpha", "", false, false, false},
	{4, "arc-x86", "", false, false, false},
	{5, "lean-client", "", false, false, false},
	{6, "x86", "386", false, false, true},
	{7, "x86-64", "amd64", false, false, true},
	{8, "xscale", "arm", false, false, true},
	{9, "x86-64", "amd64", false, false, true},
	{10, "arm32", "arm", false, false, true},
	{11, "arm64", "arm64", false, false, true},
	{12, "powerpc-openfirmware", "ppc64", false, false, false},
	{13, "powerpc-epapr", "", false, false, false},
	{14, "power-opal", "ppc64le", false, false, false},
	{15, "x86", "386", true, false, true},
	{16, "x86-64", "amd64", true, false, true},
	{17, "x86-64", "amd64", true, false, true},
	{18, "arm32", "arm", true, false, true},
	{19, "arm64", "arm64", true, false, true},
	{20, "x86-64", "amd64", true, true, false},
	{21, "arm32-uboot", "arm", false, false, false},
	{22, "arm64-uboot", "arm64", false, false, false},
	{23, "arm32-uboot", "arm", true, false, false},
	{24, "arm64-uboot", "arm64", true, false, false},
	{25, "riscv32", "", false, false, true},
	{26, "riscv32", "", true, false, true},
	{27, "riscv64", "riscv64", false, false, true},
	{28, "riscv64", "riscv64", true, false, true},
	{29, "riscv128", "", false, false, true},
	{30, "riscv128", "", true, false, true},
	{31, "s390-basic", "s390x", false, false, false},
	{32, "s390-extended", "s390x", false, false, false},
	{33, "mips32", "mipsle", false, false, true},
	{34, "mips64", "mips64le", false, false, true},
	{35, "sunway32", "", false, false, true},
	{36, "sunway64", "", false, false, true},
	{37, "loongarch32", "", false, false, true},
	{38, "loongarch32", "", true, false, true},
	{39, "loongarch64", "loong64", false, false, true},
	{40, "loongarch64", "loong64", true, false, true},
	{41, "raspberry-pi", "arm64", false, false, false},
}

// raspberryPi is the code that the boot ROM of a Raspberry Pi sends, if it does not claim to be a BIOS.
const raspberryPi = 41

// ArchOf finds a code of option 93.
func ArchOf(code uint16) (Arch, bool) {
	if int(code) >= len(archs) {
		return Arch{}, false
	}
	return archs[code], true
}
