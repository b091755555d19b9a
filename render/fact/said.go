package fact

import "net/netip"

// Said is what a machine tells of itself when it asks for an address, and its relay agent of where it is, made fit to be shown.
type Said struct {
	Arch        Arch
	UUID        string     // option 97, as dmidecode prints it
	VendorClass string     // option 60
	Hostname    string     // option 12
	Relay       netip.Addr // invalid: it is on a wire of ours
	Circuit     string     // option 82.1: the port that it is at
	Remote      string     // option 82.2: the relay agent's own name, often a switch's
}
