package bss

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cluster is a dump like those of a system with hundreds of nodes: roles, Default, records of one node, of a MAC and of a NID, parameters of a
// kernel, and what operators get away with.
func cluster() []byte {
	const image = "s3://boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/"
	type m = map[string]any
	var nodes, records []m
	add := func(i int, role, arch string, macs ...string) {
		nodes = append(nodes, m{"ID": fmt.Sprintf("x3000c%ds%db%dn%d", i/64, i/4%16, i/2%2, i%2), "Type": "Node", "State": "Ready", "Role": role, "NID": i, "Arch": arch,
			"MAC": macs, "EndpointEnabled": true})
	}
	for i := range 400 {
		role, arch := "Compute", "X86"
		switch {
		case i >= 380:
			role = "Application"
		case i >= 340:
			role, arch = "Accelerated", "ARM"
		}
		macs := []string{fmt.Sprintf("A4:BF:01:00:%02X:%02X", i/256, i%256)}
		if i%3 == 0 {
			macs = append(macs, "not available", fmt.Sprintf("a4bf0110%02x%02x", i/256, i%256))
		}
		add(i, role, arch, macs...)
	}
	nodes = append(nodes, m{"ID": "x3000c9s1b0n0", "Type": "Node", "State": "Empty", "NID": 999}, m{"ID": "x3000c9s2b0", "Type": "NodeBMC"})
	records = append(records,
		m{"params": "kernel.param=1", "kernel": image + "kernel"},
		m{"hosts": []string{"Default"}, "params": "console=tty0 quiet", "kernel": image + "kernel", "initrd": image + "initrd"},
		m{"hosts": []string{"Compute"}, "params": `console=ttyS0,115200 bad_page=panic crashkernel=360M initrd=initrd console=tty0 dyndbg="file drivers/usb/* +p" rd.shell ` +
			`root=craycps-s3:s3://boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/rootfs:8c274aecef9e1668a8a44e8cfc2b24b5-165:dvs:api-gw-service-nmn.local:300:eth0 k8s_gw=api-gw-service-nmn.local`,
			"kernel": image + "kernel", "initrd": image + "initrd"},
		m{"hosts": []string{"Accelerated"}, "params": "console=ttyAMA0 template={{.x}} pct=%{y} metal.server=s3://boot-images/arm/squashfs root=live:s3://boot-images/arm/rootfs",
			"kernel": "s3://boot-images/arm/kernel", "initrd": "s3://boot-images/arm/initrd"},
		m{"hosts": []string{"x3000c0s0b0n1", "x3000c0s1b0n0"}, "params": "console=ttyS1 xname=mine nid=77 ds=none ip=dhcp ip=eth1:dhcp debug spire_join_token=${SPIRE_JOIN_TOKEN}", "kernel": "http://10.92.100.81/boot/vmlinuz?v=1&x=%20", "initrd": "http://10.92.100.81/boot/initrd"},
		m{"macs": []string{"a4:bf:01:00:00:09"}, "params": "by=mac", "kernel": image + "kernel"},
		m{"nids": []int{10}, "params": "by=nid", "kernel": image + "kernel", "cloud-init": m{"user-data": m{}}},
		m{"hosts": []string{"x9999c0s0b0n0"}, "params": "gone", "kernel": image + "kernel"},
		m{"hosts": []string{"Unknown-x86_64"}, "params": "discover", "kernel": "s3://boot-images/discovery/kernel", "initrd": "s3://boot-images/discovery/initrd"},
		m{"hosts": []string{"Global"}, "cloud-init": m{"meta-data": m{"x": 1}}},
	)
	text, err := json.Marshal(m{"Components": nodes, "Params": records})
	if err != nil {
		panic(err)
	}
	return text
}

// inventory is what SMD adds: addresses, and a node that the dump does not have.
func inventory() (components, interfaces []byte) {
	var list []map[string]any
	for i := range 380 {
		list = append(list, map[string]any{"ID": "x", "MACAddress": fmt.Sprintf("a4:bf:01:00:%02x:%02x", i/256, i%256), "ComponentID": fmt.Sprintf("x3000c%ds%db%dn%d", i/64, i/4%16, i/2%2, i%2),
			"IPAddresses": []map[string]string{{"IPAddress": fmt.Sprintf("10.252.%d.%d", 1+i/200, 10+i%200)}}})
	}
	interfaces, _ = json.Marshal(list)
	return []byte(`{"Components":[{"ID":"x3000c9s9b0n0","Type":"Node","Role":"Compute","NID":990},{"ID":"x3000c0s0b0n0","Arch":"X86"}]}`), interfaces
}

func dump(t testing.TB) *Dump {
	t.Helper()
	components, interfaces := inventory()
	d, err := Read(cluster(), components, interfaces)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *Dump) find(t *testing.T, id string) *Component {
	t.Helper()
	for i := range d.Components {
		if d.Components[i].ID == id {
			return &d.Components[i]
		}
	}
	t.Fatalf("no %s", id)
	return nil
}

// TestScript holds the model against the service's source: which record counts, what is added, what becomes of the initrd.
func TestScript(t *testing.T) {
	d := dump(t)
	const image = "s3://boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/"
	for id, want := range map[string]string{
		"x3000c0s0b0n0": "kernel --name kernel " + image + `kernel initrd=initrd console=ttyS0,115200 bad_page=panic crashkernel=360M  console=tty0 dyndbg="file drivers/usb/* +p" rd.shell ` +
			"root=craycps-s3:s3://boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/rootfs:8c274aecef9e1668a8a44e8cfc2b24b5-165:dvs:api-gw-service-nmn.local:300:eth0 k8s_gw=api-gw-service-nmn.local " +
			"kernel.param=1 xname=x3000c0s0b0n0 nid=0 ds=nocloud-net;s=http://bss/ || goto boot_retry",
		"x3000c0s0b0n1":  "kernel --name kernel http://10.92.100.81/boot/vmlinuz?v=1&x=%20 initrd=initrd console=ttyS1 xname=mine nid=77 ds=none ip=dhcp ip=eth1:dhcp debug spire_join_token=${SPIRE_JOIN_TOKEN} || goto boot_retry",
		"x3000c0s2b0n1":  "kernel --name kernel " + image + "kernel by=mac kernel.param=1 xname=x3000c0s2b0n1 nid=9 ds=nocloud-net;s=http://bss/ || goto boot_retry",
		"x3000c0s2b1n0":  "kernel --name kernel " + image + "kernel by=nid kernel.param=1 xname=x3000c0s2b1n0 nid=10 ds=nocloud-net;s=http://bss/ || goto boot_retry",
		"x3000c5s15b1n1": "kernel --name kernel " + image + "kernel initrd=initrd console=tty0 quiet kernel.param=1 xname=x3000c5s15b1n1 nid=383 ds=nocloud-net;s=http://bss/ || goto boot_retry",
	} {
		lines := strings.Split(d.Script(d.find(t, id)), "\n")
		if len(lines) < 2 {
			t.Fatalf("%s: no script", id)
		}
		if diff := cmp.Diff(want, lines[1]); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
	if s := d.Script(d.find(t, "x3000c0s0b0n0")); !strings.HasSuffix(s, "boot || goto boot_retry\n:boot_retry\nsleep 30\nchain https://bss/apis/bss/boot/v1/bootscript?mac=a4:bf:01:00:00:00&retry=1\n\n") {
		t.Error(s)
	}
}

func TestCompare(t *testing.T) {
	script := func(kernel, args, initrd string) string {
		return "#!ipxe\nkernel --name kernel " + kernel + " initrd=initrd " + args + " || goto boot_retry\ninitrd --name initrd " + initrd +
			" || goto boot_retry\nboot || goto boot_retry\n:boot_retry\nsleep 30\nchain https://a/bootscript?mac=x&retry=1\n"
	}
	old := script("http://rgw:8080/b/k?X-Amz-Date=1", `a=1 b b="x y" c=1 c=2 bss_referral_token=1 ds=nocloud-net;s=http://a:1/`, "s3://b/i")
	for _, c := range []struct {
		name, new string
		want      []string
	}{
		{"but for URLs, tokens, order of keys and quotes only an order within a key", script("https://s3/b/k?X-Amz-Date=2", `c=1 ds=nocloud-net;s=http://b/ "b=x y" c=2 hostler.boot=x a=1 b`, "http://rgw/b/i?x=1"),
			[]string{"argument b: b b=x y -> b=x y b"}},
		{"nothing", script("s3://b/k", `a=1 b b="x y" c=1 c=2 ds=nocloud-net;s=https://b/`, "s3://b/i"), nil},
		{"an object, a value, an order, one more and one less", script("s3://b/k2", `a=2 b b="x y" c=2 c=1 d`, "s3://b/i"),
			[]string{"kernel: /b/k -> /b/k2", "argument a: a=1 -> a=2", "argument c: c=1 c=2 -> c=2 c=1", "argument ds: ds=nocloud-net;s=URL -> nothing", "argument d: nothing -> d"}},
		{"no script", "#!ipxe\nsleep 10\n", []string{"the new script boots no kernel"}},
	} {
		if diff := cmp.Diff(c.want, Compare(old, c.new)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if got := Compare("{\"status\":404}", old); len(got) != 1 {
		t.Error(got)
	}
}

// Files come from elsewhere: whatever is in them, reading ends, and what is written is one node for each of the service's.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"Components":[{"ID":"x1","Role":"Compute","NID":1,"MAC":["a4bf01000001"]}],"Params":[{"hosts":["Compute"],"params":"initrd=x a=\"b","kernel":"s3:///b"}]}`), []byte(`[{"MACAddress":"a","ComponentID":"x1"}]`))
	f.Add([]byte(`[{"macs":["x"],"nids":[1],"kernel":"http://h/%zz"}]`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, text, inv []byte) {
		d, err := Read(text, inv)
		if err != nil {
			return
		}
		s := Write(d, Options{Endpoint: "http://s3"})
		if len(s.Nodes) > len(d.Components) {
			t.Errorf("%d nodes of %d", len(s.Nodes), len(d.Components))
		}
		for _, n := range s.Nodes {
			if got := Compare(n.Old, n.Old); len(got) > 0 && !strings.Contains(n.Old, "metal.server") && !strings.Contains(n.Old, "live:s3") && strings.HasPrefix(n.Old, "#!ipxe\nkernel") && got[0] != "the old script boots no kernel" {
				t.Errorf("differs from itself: %v\n%s", got, n.Old)
			}
		}
	})
}

var update = flag.Bool("update", false, "write the files in testdata again")

// TestFiles keeps the cluster as files, which the command's tests read.
func TestFiles(t *testing.T) {
	components, interfaces := inventory()
	for name, want := range map[string][]byte{"dump.json": cluster(), "components.json": components, "interfaces.json": interfaces} {
		name = filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the test makes: %v", name, err)
		}
	}
}

// What /boot/v1/bootparameters gives is a bare list, and the inventory comes by itself. Nodes that the service would take for unknown, or
// that cannot be served, are left out and told of.
func TestReadList(t *testing.T) {
	d, err := Read([]byte(`[{"hosts":["Compute"],"params":"quiet","kernel":"s3://b/k"},{"hosts":["n3"],"kernel":"boot/vmlinuz"},{"hosts":["Unknown-aarch64"],"kernel":"s3://b/a"}]`),
		[]byte(`{"Components":[{"ID":"n1","Role":"Compute","NID":1,"EndpointEnabled":true},{"ID":"n2","Role":"Compute","NID":2,"EndpointEnabled":false},{"ID":"n3","NID":3},{"ID":"n4","Role":"Other"}],
			"EthernetInterfaces":[{"MACAddress":"a4bf01000001","ComponentID":"n1","IPAddress":"10.1.2.3"},{"MACAddress":"a4bf01000002","ComponentID":"n2"},{"MACAddress":"a4bf01000003","ComponentID":"n3"},
			{"MACAddress":"a4bf01000001","ComponentID":"n3"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := Write(d, Options{Endpoint: "http://s3"})
	if len(s.Nodes) != 1 || s.Nodes[0].Name != "n1" {
		t.Errorf("%v", s.Nodes)
	}
	want := []string{
		"n2 is left out: it is disabled in the inventory, and the service gives it the image of undeclared machines",
		"n3 has the MAC a4:bf:01:00:00:01, which is n1's, too: it is left to that one",
		"n4 is left out: the service has nothing for it to boot",
	}
	if diff := cmp.Diff(want, s.Notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Missing{{"n3", "its kernel or its initrd is neither in S3 nor behind HTTP"}}, s.Missing); diff != "" {
		t.Error(diff)
	}
	if got := string(s.Files["nodes.boot.hcl"]); !strings.Contains(got, `cidr = "10.1.2.0/24"`) || !strings.Contains(got, "arm64 = group.unknown-aarch64") {
		t.Error(got)
	}
}
