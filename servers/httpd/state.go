package httpd

// State is what the server is doing now.
type State struct {
	Connections int    // open
	Sending     int    // files on their way
	Waiting     int    // files that wait because their client has as many under way as it may
	Refused     uint64 // connections that were closed at once, because their client had too many, since the start
}

// State may be asked for at any time.
func (s *Server) State() (v State) {
	s.conns.mu.Lock()
	v.Refused = s.conns.refused
	for _, n := range s.conns.byPeer {
		v.Connections += n
	}
	s.conns.mu.Unlock()
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	for _, t := range s.turns.byPeer {
		v.Sending += len(t.slots)
		v.Waiting += t.users - len(t.slots)
	}
	return v
}
