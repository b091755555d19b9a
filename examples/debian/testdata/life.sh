#!/bin/bash
# The life of the package on one machine, run by systemd in a clean Debian. Lines that begin with "LIFE" are compared by the test.
say() { echo "LIFE $*"; }
lease() { ip netns exec machine udhcpc -i eth0 -n -q -t 10 -T 1 -s /life/bound 2>/dev/null | grep '^bound'; }
state() { hostler leases | awk 'NR > 1 {print $1, $2}'; }
pid() { systemctl show -P MainPID hostler; }
ready() { for _ in $(seq 100); do hostler status >/dev/null 2>&1 && return; sleep 0.1; done; }
kept() { [ "$(state)" = "$first" ] && echo kept; }

ip netns add machine
ip link add eth0 type veth peer name eth0 netns machine
ip addr add 10.77.0.1/24 dev eth0
ip link set eth0 up
ip -n machine link set eth0 address 52:54:00:77:00:01 up

dpkg -i /life/old.deb >/dev/null
say "installed: $(systemctl is-enabled hostler), $(systemctl is-active hostler), configuration $(stat -c %a:%U:%G /etc/hostler)"

cp /life/server.hcl /etc/hostler/
systemctl start hostler; ready
say "started: $(systemctl is-active hostler) as $(stat -c %U:%G "/proc/$(pid)"), state $(stat -c %a:%U /var/lib/hostler)," \
	"socket $(stat -c %a:%U:%G /run/hostler/admin.sock)"
say "capabilities: $(grep -E '^Cap(Eff|Bnd|Amb)' "/proc/$(pid)/status" | tr -s '\t\n' ' ')"
say "exposure: $(systemd-analyze security --no-pager hostler | grep -oE 'hostler.service: [0-9.]+ [A-Z]+' | cut -d' ' -f3)"
say "machine: $(lease)"
first=$(state)
before=$(pid)
say "lease: $first"

mv /life/fleet /life/gone # the upgrade comes up on what was kept
dpkg -i /life/new.deb >/dev/null; ready
say "upgraded: $(systemctl is-active hostler), $(hostler version | head -1), $([ "$(pid)" != "$before" ] && echo a new process)"
say "lease: $(kept)"
say "machine: $(lease)"
mv /life/gone /life/fleet

systemctl stop hostler
dpkg -i /life/old.deb >/dev/null 2>&1
say "stopped, then another version installed: $(systemctl is-active hostler)"

systemctl start hostler; ready
dpkg -r hostler >/dev/null
say "removed: process $(cat /proc/[0-9]*/comm | grep -x hostler || echo none), state $(ls /var/lib/hostler | grep -c state.db), configuration $(ls /etc/hostler)"
dpkg -i /life/new.deb >/dev/null; ready
say "installed again: $(systemctl is-active hostler), lease $(kept)"
dpkg -P hostler >/dev/null
say "purged: $(ls -d /var/lib/hostler /etc/hostler 2>/dev/null || echo nothing is left)"
systemctl --no-block poweroff
