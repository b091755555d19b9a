package dhcp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/coredhcp/coredhcp/config"
	"github.com/coredhcp/coredhcp/logger"
	"github.com/coredhcp/coredhcp/plugins"
)

// pluginName is ours in the chain.
const pluginName = "hostler"

// loadChain builds the chain of plugins. coredhcp registers plugins in a map of the whole process, and panics when a name
// comes twice, so ours and coredhcp's own are there only while the chain is built. Two servers must not be built at the same time.
func (s *Server) loadChain() error {
	own := config.PluginConfig{Name: pluginName}
	list := slices.Concat(s.cfg.Before, []config.PluginConfig{own}, s.cfg.After)
	for _, p := range list {
		s.names = append(s.names, p.Name)
	}
	if err := CheckPlugins(s.cfg.Before, s.cfg.After); err != nil {
		return err
	}
	// coredhcp's logger is one for the process and writes to stderr on its own account.
	logger.GetLogger(pluginName).Logger.SetOutput(logWriter{s.cfg.Log})
	all := []*plugins.Plugin{s.plugin(pluginName)}
	for _, p := range slices.Concat(s.cfg.Before, s.cfg.After) {
		if known := stock()[p.Name]; known != nil {
			all = append(all, known)
		}
	}
	undo, err := registered(all...)
	if err != nil {
		return err
	}
	defer undo()
	chain, _, err := plugins.LoadPlugins(&config.Config{Server4: &config.ServerConfig{Plugins: list}})
	if err != nil {
		return fmt.Errorf("loading plugins: %w", err)
	}
	s.chain = chain
	return nil
}

// logWriter passes coredhcp's lines on. They are told every packet, so all but warnings and errors are debugging.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	level := slog.LevelDebug
	for _, word := range [...]string{"level=warn", "level=error", "level=fatal", "level=panic", "WARN", "ERROR", "FATAL", "PANIC"} {
		if bytes.Contains(b, []byte(word)) {
			level = slog.LevelWarn
		}
	}
	w.log.Log(context.Background(), level, "dhcp: coredhcp", "err", string(bytes.TrimSpace(b)))
	return len(b), nil
}
