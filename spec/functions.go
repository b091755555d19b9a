package spec

import (
	"github.com/zclconf/go-cty/cty/function"

	"hostler/spec/lang"
)

func (p *parser) functions() map[string]function.Function { return lang.Functions(p.in.Files) }
