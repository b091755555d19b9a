package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"hostler/servers/admin"
)

// manager tells the service manager how the server is doing: sd_notify(3), which is one datagram for each message. Without
// NOTIFY_SOCKET there is nobody to tell.
type manager struct {
	socket   string
	watchdog time.Duration // the server is taken for dead when it says nothing for so long; 0: never
}

// managerOf reads what a service manager put into the environment.
func managerOf(getenv func(string) string) manager {
	m := manager{socket: getenv("NOTIFY_SOCKET")}
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m
	}
	if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		m.watchdog = time.Duration(us) * time.Microsecond
	}
	return m
}

// say sends lines such as READY=1. A socket that begins with "@" is an abstract one, as net has it too. An error has nobody to
// go to but the log.
func (m manager) say(lines ...string) error {
	if m.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	defer c.Close()
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return err
}

const statusEvery = 5 * time.Second

// report tells the service manager that the sockets are open, then how the server is doing, until ctx ends. The
// watchdog hears of us only as long as the checks, which look at the parts' own locks, come back.
func (m manager) report(ctx context.Context, checks func() []admin.Check, warn func(error)) {
	every := statusEvery
	if m.watchdog > 0 {
		every = min(every, m.watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := ""
	for first := true; ; first = false {
		var lines []string
		if first {
			lines = append(lines, "READY=1")
		}
		if m.watchdog > 0 {
			lines = append(lines, "WATCHDOG=1")
		}
		if now := cut(healthText(checks()), 200); now != told {
			told = now
			lines = append(lines, "STATUS="+strings.ReplaceAll(now, "\n", " "))
		}
		if len(lines) > 0 {
			if err := m.say(lines...); err != nil && first {
				warn(err)
			}
		}
		select {
		case <-ctx.Done():
			_ = m.say("STOPPING=1")
			return
		case <-tick.C:
		}
	}
}
