package render

import "strings"

// classes gives the class of a leaf by its path, or by the longest part of it that ends in a dot. What is not
// listed reaches the machine at its next boot.
var classes = map[string]Class{
	"address":       ClassAddress,
	"subnet":        ClassAddress,
	"interface.":    ClassAddress,
	"mac":           ClassRemove,
	"hostname":      ClassNextRenew,
	"domain":        ClassNextRenew,
	"dns":           ClassNextRenew,
	"ntp":           ClassNextRenew,
	"option.":       ClassNextRenew,
	"lease.":        ClassNextRenew,
	"groups":        ClassNone,
	"labels.":       ClassNone,
	"cidr":          ClassAddress,
	"gateway":       ClassNextRenew,
	"relays":        ClassServer,
	"boot_servers":  ClassServer,
	"dhcp":          ClassServer,
	"authoritative": ClassServer,
	"exclude":       ClassAddress,
	"unknown":       ClassExposure,
}

func classOf(path string) Class {
	for _, prefix := range []string{"unknown.", "default."} {
		path = strings.TrimPrefix(path, prefix)
	}
	if c, ok := classes[path]; ok {
		return c
	}
	head, rest, _ := strings.Cut(path, ".")
	if c, ok := classes[head+"."]; ok {
		if head == "interface" && strings.HasSuffix(rest, ".hostname") {
			return ClassNextRenew
		}
		return c
	}
	if head == "pool" {
		switch {
		case strings.HasSuffix(rest, ".range"):
			return ClassAddress
		case strings.HasSuffix(rest, ".serves"):
			return ClassExposure
		}
		return ClassNextRenew
	}
	return ClassNextBoot
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
