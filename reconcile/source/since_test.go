package source

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

func sinceSubjects(t *testing.T, s Source, from, to fact.Revision) ([]string, bool) {
	t.Helper()
	log, err := s.Since(context.Background(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, c := range log.Commits {
		subjects = append(subjects, c.Subject)
	}
	return subjects, log.Rewind
}

func TestSince(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a", "1")
	second := r.commit("a", "2")
	r.run("", "checkout", "-q", "-b", "side", first)
	side := r.commit("b", "side")
	r.run("", "checkout", "-q", "main")
	r.run("", "merge", "-q", "--no-ff", "-m", "merge side", "side")
	merge := r.run("", "rev-parse", "HEAD")
	last := r.commit("a", "3")
	r.run("", "checkout", "-q", "-b", "reset", second)
	reset := r.commit("a", "other")
	rev := func(hash string) fact.Revision { return fact.Revision("main@sha1:" + hash) }
	s := open(t, Options{Location: r.dir, Branch: "main"})
	for name, c := range map[string]struct {
		from, to fact.Revision
		want     []string
		rewind   bool
	}{
		"nothing new":                   {rev(last), rev(last), nil, false},
		"one":                           {rev(merge), rev(last), []string{"set a to 3"}, false},
		"several, oldest first":         {rev(first), rev(last), []string{"set a to 2", "merge side", "set a to 3"}, false},
		"from the second parent":        {rev(side), rev(merge), []string{"set a to 2", "merge side"}, false},
		"reset to an older commit":      {rev(last), rev(second), []string{"set a to 2"}, true},
		"forced to a sibling":           {rev(last), rev(reset), []string{"set a to other"}, true},
		"from a commit that is gone":    {rev("0123456789012345678901234567890123456789"), rev(second), []string{"set a to 1", "set a to 2"}, true},
		"the first revision ever":       {"", rev(last), []string{"set a to 3"}, false},
		"from another kind of source":   {"dir@sha256:00", rev(last), []string{"set a to 3"}, false},
		"the same commit, other branch": {"old@sha1:" + fact.Revision(last), rev(last), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, rewind := sinceSubjects(t, s, c.from, c.to)
			if diff := cmp.Diff(c.want, got); diff != "" || rewind != c.rewind {
				t.Errorf("rewind %v (-want +got)\n%s", rewind, diff)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a", "1")
	second := r.commit("a", "2")
	r.run("", "tag", "v1", first)
	r.run("", "branch", "side", first)
	s := open(t, Options{Location: r.dir})
	for name, want := range map[string]string{
		"": "main@sha1:" + second, "HEAD~1": "main@sha1:" + first, "v1": "main@sha1:" + first, "side": "side@sha1:" + first,
		first[:10]: "main@sha1:" + first, "main@sha1:" + first: "main@sha1:" + first,
	} {
		if got, err := s.Resolve(context.Background(), name); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
	if _, err := s.Resolve(context.Background(), "nope"); err == nil {
		t.Error("found nope")
	}
	dir := t.TempDir()
	writeFile(t, dir+"/a", "1")
	d := open(t, Options{Location: dir})
	head, _ := d.Head(context.Background())
	for _, name := range []string{"", string(head), string(head.Short())} {
		if got, err := d.Resolve(context.Background(), name); err != nil || got != head {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
	if _, err := d.Resolve(context.Background(), "HEAD~1"); err == nil {
		t.Error("a directory has a past")
	}
}
