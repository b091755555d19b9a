package tftp

import (
	"bytes"
	"testing"
	"time"
)

// firmware are requests as firmware and loaders write them.
var firmware = []string{
	"RRQ ipxe.efi octet tsize=0 blksize=1468",                          // EDK2, asking for the size
	"RRQ ipxe.efi octet blksize=1468 windowsize=4",                     // EDK2, for the file
	"RRQ undionly.kpxe octet tsize=0",                                  // PXE ROMs, the probe
	"RRQ undionly.kpxe octet blksize=1456",                             // and the file
	"RRQ undionly.kpxe octet blksize=1432 tsize=0",                     // iPXE
	"RRQ pxelinux.cfg/01-52-54-00-00-00-01 octet tsize=0 blksize=1408", // pxelinux
	`RRQ \Boot\BCD octet tsize=0 blksize=1456`,                         // Windows' boot manager
	"RRQ /grub/grub.cfg octet blksize=1024 tsize=0",                    // GRUB
	"RRQ grubx64.efi octet blksize=512",                                // shim
	"RRQ 0A4D000B.img octet timeout=5 tsize=0 blksize=1468",            // U-Boot
	`RRQ undionly.kpxe\xff octet`,                                      // old ROMs
	"RRQ small.efi netascii", "RRQ small.efi MAIL", "WRQ small.efi octet", "ACK 1", "ERROR 8 User aborted the transfer",
}

// FuzzParseRequest holds what is made of a request to its bounds.
func FuzzParseRequest(f *testing.F) {
	for _, line := range firmware {
		b, err := encode(line)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := parseRequest(packet)
		if err != nil {
			return
		}
		for _, mtu := range []int{0, 68, 1500, 9000, 65536} {
			tm, oack := r.negotiate(1<<20, mtu)
			switch {
			case tm.blksize < 8 || tm.blksize > 65464 || r.blksize > 0 && tm.blksize > r.blksize,
				tm.blksize > 512 && tm.blksize > mtu-overhead,
				tm.window < 1 || tm.window > windowBlocks || r.window > 0 && tm.window > r.window,
				tm.window > 1 && tm.window*tm.blksize > windowBytes,
				tm.timeout < 0 || tm.timeout > 255*time.Second,
				len(oack) > 512, bytes.Count(oack, []byte{0})%2 != 0:
				t.Errorf("%+v at an MTU of %d: %+v, %q", r, mtu, tm, oack)
			}
		}
	})
}

// FuzzSender gives a sender packets and pauses: it never sends what is not there, nor more than the window, nor anything when it is done.
func FuzzSender(f *testing.F) {
	f.Add([]byte{0, 4, 0, 0, 0, 4, 0, 1, 255, 9, 9, 9, 0, 4, 0, 3}, uint8(4))
	f.Add([]byte{0, 4, 0, 1, 0, 5, 0, 8, 0, 4, 0, 2}, uint8(1))
	f.Fuzz(func(t *testing.T, script []byte, window uint8) {
		content := pattern(5000)
		now, burst := midnight, 0
		var s *sender
		s = newTestSender(content, terms{blksize: 512, window: int(window%64) + 1}, nil, func(_, block uint16, got []byte) {
			burst++
			from := min((int(block)-1)*512, len(content))
			if block == 0 || !bytes.Equal(got, content[from:min(from+512, len(content))]) || s.done {
				t.Fatalf("block %d has %d bytes, done %v", block, len(got), s.done)
			}
		})
		for s.start(now); len(script) >= 4; script = script[4:] {
			burst = 0
			if script[0] == 255 {
				now = now.Add(time.Duration(script[1]) * 100 * time.Millisecond)
				s.tick(now)
				s.overdue(now)
			} else {
				s.receive(script[:4], now)
			}
			if burst > s.window || s.acked > s.sent || s.sent > s.furthest || s.furthest > 10 {
				t.Fatalf("%d packets at once; acknowledged %d, sent %d, furthest %d", burst, s.acked, s.sent, s.furthest)
			}
		}
	})
}

// TestMemoryOfATransfer holds what a transfer keeps of a file to the same, however large the file is.
func TestMemoryOfATransfer(t *testing.T) {
	small := terms{blksize: 1428, window: 1}
	large := terms{blksize: 1428, window: windowBlocks}
	for _, tt := range []struct {
		size int64
		t    terms
		most int
	}{{1 << 20, small, 35 << 10}, {1 << 30, small, 35 << 10}, {-1, small, 35 << 10}, {100, small, 100}, {1 << 30, large, 160 << 10}} {
		if n := len(newSource(nil, tt.size, tt.t).buf); n > tt.most {
			t.Errorf("%d bytes for a file of %d, %+v", n, tt.size, tt.t)
		}
	}
}
