package render

import "strings"

// classOf is the class of a leaf by its path. What is not listed reaches the machine at its next boot.
func classOf(path string) Class {
	if rest, ok := strings.CutPrefix(path, `unknown["`); ok {
		_, path, ok = strings.Cut(rest, `"].`)
		if !ok {
			return ClassExposure
		}
	}
	for _, prefix := range []string{"unknown.", "default."} {
		path = strings.TrimPrefix(path, prefix)
	}
	switch head, rest, _ := strings.Cut(path, "."); head {
	case "mac":
		return ClassRemove
	case "address", "subnet", "cidr", "exclude":
		return ClassAddress
	case "interface":
		return interfaceClass(rest)
	case "hostname", "domain", "dns", "ntp", "option", "lease", "gateway":
		return ClassNextRenew
	case "relays", "boot_servers", "authoritative", "conflict_check", "quarantine":
		return ClassServer
	case "unknown", "dhcp":
		return ClassExposure
	case "pool":
		return poolClass(rest)
	case "groups", "labels", "loop", "installed":
		return ClassNone
	}
	return ClassNextBoot
}

func interfaceClass(rest string) Class {
	switch {
	case strings.HasSuffix(rest, ".mac"):
		return ClassRemove
	case strings.HasSuffix(rest, ".hostname"):
		return ClassNextRenew
	}
	return ClassAddress
}

func poolClass(rest string) Class {
	switch {
	case strings.HasSuffix(rest, ".range"):
		return ClassAddress
	case strings.HasSuffix(rest, ".serves"):
		return ClassExposure
	}
	return ClassNextRenew
}

// subjectClass is the class of a whole subject that comes or goes.
func subjectClass(name string, added bool) Class {
	switch kind, _, _ := strings.Cut(name, "."); {
	case kind == "image":
		return ClassNone
	case kind == "node" && added:
		return ClassNextBoot
	case kind == "node":
		return ClassRemove
	case kind == "subnet" && added:
		return ClassServer
	case kind == "subnet":
		return ClassRemove
	}
	return ClassNextBoot
}
