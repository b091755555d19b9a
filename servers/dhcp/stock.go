package dhcp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coredhcp/coredhcp/config"
	"github.com/coredhcp/coredhcp/plugins"
	"github.com/coredhcp/coredhcp/plugins/dns"
	"github.com/coredhcp/coredhcp/plugins/ipv6only"
	"github.com/coredhcp/coredhcp/plugins/mtu"
	"github.com/coredhcp/coredhcp/plugins/netmask"
	"github.com/coredhcp/coredhcp/plugins/router"
	"github.com/coredhcp/coredhcp/plugins/searchdomains"
	"github.com/coredhcp/coredhcp/plugins/sleep"
	"github.com/coredhcp/coredhcp/plugins/staticroute"
)

// stock are coredhcp's own plugins that may stand beside ours. Each keeps its arguments in variables of its package: they hold for
// every subnet and every machine of the process.
func stock() map[string]*plugins.Plugin {
	all := map[string]*plugins.Plugin{}
	for _, p := range []*plugins.Plugin{
		&dns.Plugin, &ipv6only.Plugin, &mtu.Plugin, &netmask.Plugin, &router.Plugin, &searchdomains.Plugin, &sleep.Plugin, &staticroute.Plugin,
	} {
		all[p.Name] = p
	}
	return all
}

// unfit says why other plugins of coredhcp may not.
func unfit(name string) string {
	return map[string]string{
		"autoconfigure": "it drops answers without an address",
		"file":          "addresses are declared in the spec",
		"lease_time":    "a machine would believe in a lease that is not the one on disk; the lease blocks of the spec set its time",
		"nbp":           "the spec says what machines load",
		"prefix":        "IPv6 is not served",
		"range":         "it gives addresses that this server knows nothing of",
		"server_id":     "hostler answers for the address that a machine reached it by",
	}[name]
}

// CheckPlugins says what is wrong with plugins that shall stand before and after ours; nil if nothing is.
func CheckPlugins(before, after []config.PluginConfig) error {
	seen := map[string]bool{pluginName: true}
	for i, p := range slices.Concat(before, after) {
		switch {
		case p.Name == pluginName:
			return fmt.Errorf("plugin %s: it always is in the chain, and only once", pluginName)
		case unfit(p.Name) != "":
			return fmt.Errorf("plugin %s: not beside hostler: %s", p.Name, unfit(p.Name))
		case seen[p.Name]: // its arguments are variables of its package
			return fmt.Errorf("plugin %s: it can be in the chain only once", p.Name)
		case p.Name == ipv6only.Plugin.Name && i < len(before):
			return fmt.Errorf("plugin %s: it ends the chain for some machines, so it cannot be before hostler", p.Name)
		case stock()[p.Name] == nil && plugins.RegisteredPlugins[p.Name] == nil:
			return fmt.Errorf("plugin %s: there is none of that name; there are %s", p.Name, strings.Join(slices.Sorted(maps.Keys(stock())), ", "))
		}
		seen[p.Name] = true
	}
	return nil
}

// registered makes plugins known to coredhcp's map of the whole process, which panics when a name comes twice, and gives
// the function that takes back what was not known before.
func registered(ps ...*plugins.Plugin) (undo func(), err error) {
	var ours []string
	undo = func() {
		for _, name := range ours {
			delete(plugins.RegisteredPlugins, name)
		}
	}
	for _, p := range ps {
		if plugins.RegisteredPlugins[p.Name] != nil {
			continue
		}
		if err := plugins.RegisterPlugin(p); err != nil {
			undo()
			return nil, err
		}
		ours = append(ours, p.Name)
	}
	return undo, nil
}
