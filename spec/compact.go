package spec

import (
	"strings"

	"hostler/render/fact"
)

// Compact lays what belongs to nodes side by side in few pieces of memory, and has equal words stand there once. Nodes that were decoded
// consist of some twenty pieces each, most of them the same file name. Nobody may share the nodes' parts yet. Their memory can go
// when none of the nodes is left, so it is for nodes that were read together.
func Compact(nodes []Node) {
	var c compactor
	c.each(nodes)
	c.open()
	c.each(nodes)
}

// compactor goes through the nodes twice: until open it counts, then it moves.
type compactor struct {
	settings   slab[Settings]
	interfaces slab[Interface]
	args       slab[Arg]
	values     slab[fact.Text]
	vars       slab[Var]
	options    slab[Option]
	labels     slab[Label]
	texts      slab[NodeText]
	traces     slab[Trace]
	steps      slab[Step]

	length int             // of all texts
	text   strings.Builder // all texts, one behind the other
	words  map[string]string
}

func (c *compactor) open() {
	for _, s := range []interface{ open() }{&c.settings, &c.interfaces, &c.args, &c.values, &c.vars, &c.options, &c.labels, &c.texts, &c.traces, &c.steps} {
		s.open()
	}
	c.text.Grow(c.length)
	c.words = map[string]string{}
}

func (c *compactor) each(nodes []Node) {
	for i := range nodes {
		c.node(&nodes[i])
	}
}

func (c *compactor) node(n *Node) {
	name := (*string)(&n.Name)
	c.keep(name)
	c.keep(&n.Address)
	c.word(&n.Firmware)
	c.word(&n.Arch)
	c.keep(&n.UUID)
	c.word(&n.Hold)
	c.place(&n.Place)
	for _, list := range []*[]Label{&n.Labels, &n.IDs} {
		for i := range c.labels.move(list) {
			c.word(&(*list)[i].Name)
			c.like(&(*list)[i].Value, *name)
		}
	}
	for i := range c.interfaces.move(&n.Interfaces) {
		x := &n.Interfaces[i]
		c.word(&x.Name)
		c.word(&x.Subnet)
		c.like(&x.Hostname, *name)
		c.place(&x.Place)
	}
	if n.Own != nil {
		n.Own = c.settings.one(n.Own)
		c.own(n.Own, *name)
	}
	for i := range c.traces.move(&n.Trace) {
		t := &n.Trace[i]
		c.word(&t.Path)
		for j := range c.steps.move(&t.Steps) {
			s := &t.Steps[j]
			c.like(&s.Layer, n.Address)
			c.word((*string)(&s.Action))
			c.like(&s.Value, *name)
			c.place(&s.Place)
		}
	}
	for i := range c.texts.move(&n.Texts) {
		c.word(&n.Texts[i].Template)
		c.keep((*string)(&n.Texts[i].Digest))
	}
}

func (c *compactor) own(s *Settings, name string) {
	c.word((*string)(&s.Boot))
	c.word(&s.Loader)
	c.word(&s.Script)
	c.word(&s.Config)
	c.word(&s.Domain)
	for i := range c.args.move(&s.KernelArgs) {
		a := &s.KernelArgs[i]
		c.word(&a.Key)
		c.place(&a.Place)
		for j := range c.values.move(&a.Values) {
			c.like((*string)(&a.Values[j]), name)
		}
	}
	for i := range c.vars.move(&s.Vars) {
		c.word(&s.Vars[i].Name)
		c.word(&s.Vars[i].JSON)
		c.place(&s.Vars[i].Place)
	}
	for i := range c.options.move(&s.Options) {
		o := &s.Options[i]
		c.word(&o.Name)
		c.word(&o.Text)
		c.place(&o.Place)
	}
}

func (c *compactor) place(p *Place) {
	c.word(&p.File)
	c.word(&p.Table)
}

// word is a text that many nodes have.
func (c *compactor) word(s *string) {
	if c.words == nil || *s == "" {
		return
	}
	if w, ok := c.words[*s]; ok {
		*s = w
		return
	}
	c.words[*s] = *s
}

// keep is a text of one node's.
func (c *compactor) keep(s *string) {
	if c.words == nil {
		c.length += len(*s)
		return
	}
	at := c.text.Len()
	c.text.WriteString(*s)
	*s = c.text.String()[at:]
}

// like is a text that is mostly the same as another one of the node's.
func (c *compactor) like(s *string, as string) {
	if *s == as {
		*s = as
		return
	}
	c.keep(s)
}

// slab is room for what is moved: as much as was counted.
type slab[E any] struct {
	n    int
	room []E
}

func (s *slab[E]) open() { s.room = make([]E, s.n) }

// move gives the list, in its new place if there is one yet.
func (s *slab[E]) move(list *[]E) []E {
	n := len(*list)
	if n == 0 || s.room == nil {
		s.n += n
		return *list
	}
	copy(s.room, *list)
	*list, s.room = s.room[:n:n], s.room[n:]
	return *list
}

// one is move for a single element.
func (s *slab[E]) one(e *E) *E {
	if s.room == nil {
		s.n++
		return e
	}
	s.room[0] = *e
	e, s.room = &s.room[0], s.room[1:]
	return e
}
