package main

import "hostler/spec/lang"

// foldNames writes many names as a host list: c[001-128,200].
func foldNames(names []string) string { return lang.FoldHosts(names) }
