// Package system runs whole scenarios on the built programs, each in both shapes: one
// process on embedded stores, and one process per service on a shared event log and
// bucket. Its tests need the build tag system; `make test-system` builds and runs them.
package system
