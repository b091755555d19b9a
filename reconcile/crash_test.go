package reconcile

const crashArg = "crash-test"

func crashMain([]string) {}
