package spec

import (
	"cmp"
	"fmt"
	"strings"

	"hostler/spec/kind"
)

// config reads what the configuration of a node is: a template, or a map of those that cloud-init asks for.
func (s *scope) config(b *body, l *layer) {
	v, at, ok := s.value(b, "config")
	if !ok {
		return
	}
	if t := v.Type(); isRef(v) || !t.IsObjectType() && !t.IsMapType() {
		if v, ok := s.ref(b, "config", "template"); ok {
			s.setConfig(l, b, Settings{Config: v})
		}
		return
	}
	var c Settings
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		part := c.configPart(k.AsString())
		switch {
		case k.AsString() == rowKey, e.IsNull():
		case part == nil:
			s.p.rep.err("unknown-config", at, "Unknown part of a configuration",
				fmt.Sprintf("A configuration has no part %q; its parts are %s, %s and %s.", k.AsString(), kind.UserData, kind.VendorData, kind.NetworkConfig))
			return
		default:
			if *part, ok = s.asRef("config", "template", e, at); !ok {
				return
			}
		}
	}
	if c.hasConfig() {
		s.setConfig(l, b, c)
	}
}

func (s *scope) setConfig(l *layer, b *body, c Settings) {
	s.set(l, b, "config", "config", c.ConfigText(), func(t *Settings) {
		t.Config, t.VendorData, t.NetworkConfig = c.Config, c.VendorData, c.NetworkConfig
	})
}

// configPart is where the template of a part of the configuration stands; nil for an unknown part.
func (s *Settings) configPart(name string) *string {
	switch name {
	case kind.UserData:
		return &s.Config
	case kind.VendorData:
		return &s.VendorData
	case kind.NetworkConfig:
		return &s.NetworkConfig
	}
	return nil
}

// ConfigPart is the template that cloud-init gets as user-data, vendor-data or network-config; empty when there is none.
func (s *Settings) ConfigPart(name string) string {
	if part := s.configPart(name); part != nil {
		return *part
	}
	return ""
}

func (s *Settings) hasConfig() bool { return cmp.Or(s.Config, s.VendorData, s.NetworkConfig) != "" }

// ConfigText is the configuration as an author would read it.
func (s *Settings) ConfigText() string {
	if s.VendorData == "" && s.NetworkConfig == "" {
		if s.Config == "" {
			return ""
		}
		return "template." + s.Config
	}
	var parts []string
	for _, name := range []string{kind.UserData, kind.VendorData, kind.NetworkConfig} {
		if t := s.ConfigPart(name); t != "" {
			parts = append(parts, name+" = template."+t)
		}
	}
	return strings.Join(parts, ", ")
}

// use is what cloud-init fetches a template as. One that is fetched by its own address is user-data.
func (s *Settings) use(template string) string {
	for _, name := range []string{kind.NetworkConfig, kind.VendorData} {
		if s.ConfigPart(name) == template {
			return name
		}
	}
	return kind.UserData
}
